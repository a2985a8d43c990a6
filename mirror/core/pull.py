"""Reading back what a repository holds: blobs by digest, manifests by tag or digest, always the stored bytes."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, Protocol

from mirror.core.errors import ContentMissingError
from mirror.core.ports import Content, Grants, Images
from mirror.core.seen import Seen
from mirror.core.usage import Uses
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.names import Digest, Reference, Repository


class Origin(StrEnum):
    """Where an answer comes from: it was here, or comes from the upstream; or it was here and may be out of date."""

    HIT = "hit"
    MISS = "miss"
    STALE = "stale"


class Coming(Protocol):
    """Content that is on its way here, and that can be read along."""

    def file(self) -> BinaryIO:
        """The file that it is written to, for the caller to close."""

    async def ready(self, part: range) -> range:
        """How much of a part can be read, from its beginning; waits until there is any. Raises what it ended with.

        The last byte of a part comes only when all of it has been verified.
        """


@dataclass(frozen=True, slots=True)
class Stored:
    """What a HEAD tells: digest, media type and size in bytes. What is not all here yet is `coming`."""

    digest: Digest
    media_type: str
    size: int
    origin: Origin = Origin.HIT
    coming: Coming | None = None


class Pull:
    """The reading use cases. What a repository was never given does not exist for it, whatever the store holds.

    With `hold` what is found stays for some minutes: whoever only asks whether it is here may mean not to push it.
    """

    def __init__(self, *, content: Content, images: Images, grants: Grants, uses: Uses, seen: Seen) -> None:
        self._content = content
        self._images = images
        self._grants = grants
        self._uses = uses
        self._seen = seen

    async def blob(self, repository: Repository, digest: Digest, *, hold: bool = False) -> Stored:
        """Find a blob. Raises RegistryError: BLOB_UNKNOWN."""
        if digest in await self._grants.granted(repository, [digest]):
            size = await self._size(repository, digest, hold=hold)
            if size is not None:
                return Stored(digest, "application/octet-stream", size)
        raise RegistryError(Problem.BLOB_UNKNOWN, digest)

    async def manifest(self, repository: Repository, reference: Reference, *, hold: bool = False) -> Stored:
        """Find a manifest, which is a use of its image. Raises RegistryError: MANIFEST_UNKNOWN."""
        digest = reference.digest or await self._tagged(repository, reference)
        media_type = digest and await self._grants.media_type(repository, digest)
        size = await self._size(repository, digest, hold=hold) if digest and media_type else None
        if not digest or not media_type or size is None:
            raise RegistryError(Problem.MANIFEST_UNKNOWN, str(reference))
        await self._uses.note(repository, digest)
        return Stored(digest, media_type, size)

    def read(self, stored: Stored, offset: int, length: int) -> AsyncIterator[bytes]:
        """Stream a part of what was found. Raises ContentMissingError when it has been collected since."""
        return self._content.read(stored.digest, offset, length, size=stored.size)

    async def file(self, stored: Stored) -> BinaryIO | None:
        """The open file of what was found, for the caller to close; None where it can only be streamed."""
        if stored.coming:
            return stored.coming.file()
        return await self._content.file(stored.digest, stored.size)

    async def ready(self, stored: Stored, part: range) -> range:
        """How much of a part its file has, from the beginning of that; waits until there is any."""
        return await stored.coming.ready(part) if stored.coming else part

    async def _size(self, repository: Repository, digest: Digest, *, hold: bool) -> int | None:
        """Look for content; leased first where it is to stay, as it may be collected in between."""
        if hold:
            await self._seen.hold(repository, digest)
        return await self._content.size(digest)

    async def _tagged(self, repository: Repository, reference: Reference) -> Digest | None:
        image = await self._images.get(repository.image(reference))
        return image.target.digest if image else None


async def read_whole(content: Content, digest: Digest, limit: int) -> bytes:
    """Read a small blob (a manifest or a config) into memory.

    Raises:
        ContentMissingError: it is not in the store.
        RegistryError: MANIFEST_TOO_LARGE when it is longer than `limit` bytes.
    """
    size = await content.size(digest)
    if size is None:
        raise ContentMissingError(digest)
    if size > limit:
        raise RegistryError(Problem.MANIFEST_TOO_LARGE, digest)
    return b"".join([data async for data in content.read(digest, size=size)])
