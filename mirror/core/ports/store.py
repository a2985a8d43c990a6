"""The host's containerd: content, image records, leases and snapshots."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from mirror.oci.manifest import Descriptor
from mirror.oci.names import Digest


class Ingest(Protocol):
    """One open write into the content store; the store's lock on its ref is ours until `close`.

    Every method raises StoreUnavailableError when containerd goes away; the bytes acknowledged so far stay in the
    store under the ref and a later `Content.ingest` with the same ref goes on from them.
    """

    @property
    def offset(self) -> int:
        """Bytes handed to `write` so far, those of earlier openings included."""

    async def write(self, data: bytes) -> None:
        """Append; waits while too many messages are unanswered, which is the back-pressure of a push."""

    async def flush(self) -> None:
        """Wait until the store has answered for every byte."""

    async def commit(self, expected: Digest) -> None:
        """Make the bytes content, held by the lease the ingest was opened under; closes the ingest.

        Content that the store already has is no error. Raises DigestMismatchError, which leaves the ingest to abort.
        """

    async def close(self) -> None:
        """Release the ref, keeping the bytes; safe to call twice."""


class Content(Protocol):
    """The content store. Every method raises StoreUnavailableError when containerd is away."""

    async def size(self, digest: Digest) -> int | None:
        """The size in bytes, None when the store does not hold it."""

    def read(self, digest: Digest, offset: int = 0, length: int = 0) -> AsyncIterator[bytes]:
        """Stream `length` bytes of a blob from `offset`, 0 for all that follow; raises ContentMissingError."""

    async def ingest(self, ref: str, lease: str) -> Ingest:
        """Open, or go on with, the ingest `ref` under `lease`."""

    async def ingested(self, ref: str) -> int | None:
        """How many bytes the ingest `ref` holds, None when there is none. Does not open it."""

    async def abort(self, ref: str) -> None:
        """Drop an ingest; one that does not exist is no error."""

    async def put(self, data: bytes, digest: Digest, lease: str, edges: Mapping[str, Digest]) -> None:
        """Store a manifest with gc references to its children (`edges`: place → digest), held by `lease`.

        A manifest that is already there gets the references and the lease too. Raises DigestMismatchError.
        """


@dataclass(frozen=True, slots=True)
class Image:
    """A containerd image record: a name and what it points to."""

    name: str
    target: Descriptor


class Images(Protocol):
    """containerd's image records, which are our tags. Raises StoreUnavailableError when containerd is away."""

    async def get(self, name: str) -> Image | None:
        """The record of this name, None when there is none."""

    async def list(self, prefix: str) -> list[Image]:
        """The records whose names begin with `prefix`."""

    async def point(self, name: str, target: Descriptor) -> None:
        """Create the record or move it to `target`; labels that others put on it stay."""

    async def delete(self, name: str) -> None:
        """Remove a record; one that does not exist is no error. What nothing else refers to will be collected."""


class Leases(Protocol):
    """containerd's leases: what they name is never collected. Raises StoreUnavailableError when containerd is away."""

    async def create(self, lease: str, *, seconds: float | None = None) -> None:
        """Make a lease; with `seconds` it ends by itself. One that already exists is no error."""

    async def delete(self, lease: str) -> None:
        """End a lease; one that does not exist is no error."""

    async def hold(self, lease: str, digest: Digest) -> None:
        """Add content to a lease; content need not exist yet."""

    async def list(self, prefix: str) -> list[str]:
        """The IDs of the leases that begin with `prefix`."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """One step of an unpack: `layer` on top of the snapshot `parent` (a chain ID, empty for the first layer).

    `diff_id` is the digest that the uncompressed layer must have, `chain_id` what the result is called.
    """

    layer: Descriptor
    diff_id: str
    chain_id: str
    parent: str


class Snapshots(Protocol):
    """Unpacked layers in the configured snapshotter. Raises StoreUnavailableError when containerd is away."""

    async def hold(self, lease: str, chain_id: str) -> bool:
        """Add a committed snapshot to a lease and say whether it exists."""

    async def extract(self, step: Extraction, lease: str) -> None:
        """Unpack one layer and commit it as the snapshot `step.chain_id`, held by `lease`.

        Leaves no half snapshot behind. Raises BadLayerError, ContentMissingError.
        """

    async def attach(self, config: Digest, chain_id: str) -> None:
        """Let the image config keep the snapshot `chain_id` alive (a gc reference); raises ContentMissingError."""
