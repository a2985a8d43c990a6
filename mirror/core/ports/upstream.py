"""The central registries."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from mirror.oci.manifest import Descriptor
from mirror.oci.names import Digest, Repository


@dataclass(frozen=True, slots=True)
class Transfer:
    """An upload to the upstream under way: where it goes on (an absolute URL) and how many bytes are there."""

    location: str
    offset: int


@dataclass(frozen=True, slots=True)
class Incoming:
    """A blob on its way here: its size in bytes, None if the upstream does not say, and the bytes."""

    size: int | None
    data: AsyncIterator[bytes]


class Upstream(Protocol):
    """The central registry behind a registry name. Every method raises UpstreamError."""

    async def probe(self) -> None:
        """Ask whether it is there at all; any answer but "I cannot" will do."""

    async def has_blob(self, repository: Repository, blob: Descriptor) -> bool:
        """Whether the upstream holds this blob, with this size."""

    async def begin_upload(
        self, repository: Repository, digest: Digest, source: Repository | None = None
    ) -> Transfer | None:
        """Open an upload, or mount the blob from `source`: then there is nothing to send, and None is returned."""

    async def find_upload(self, repository: Repository, transfer: Transfer) -> Transfer | None:
        """Where an upload that broke off stands; None when the upstream has forgotten it or cannot go on with it."""

    async def upload_blob(
        self, repository: Repository, blob: Descriptor, transfer: Transfer, data: AsyncIterator[bytes]
    ) -> None:
        """Send what is missing of a blob, streamed, and finish its upload."""

    def open_blob(self, repository: Repository, digest: Digest) -> AbstractAsyncContextManager[Incoming]:
        """Ask for a blob, and stream it; raises ContentMissingError when the upstream does not have it.

        Nobody has compared the bytes with the digest yet.
        """

    async def put_manifest(self, repository: Repository, reference: str, media_type: str, raw: bytes) -> None:
        """Put a manifest by digest or by tag."""

    async def delete_manifest(self, repository: Repository, reference: str) -> bool:
        """Delete a tag or a manifest; False when there was none."""

    async def get_manifest(self, repository: Repository, reference: str, media_type: str) -> bytes | None:
        """Read a manifest back, None when the upstream has none."""

    async def find_manifest(self, repository: Repository, reference: str) -> Descriptor | None:
        """Ask which manifest a tag or a digest means, of whatever kind; None when the upstream has none."""

    async def fetch_manifest(self, repository: Repository, reference: str) -> tuple[bytes, str] | None:
        """A manifest of whatever kind, with what it is called (Content-Type); None when the upstream has none."""

    async def lists_referrers(self, repository: Repository, subject: Digest) -> bool:
        """Whether the upstream lists by itself what refers to a manifest (spec: end-12)."""
