"""Bringing images of an archive to the daemon, by its own distribution API."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from yarl import URL

from mirror.archives.files import ArchiveError
from mirror.archives.images import Archive
from mirror.core.concurrency import run_all
from mirror.core.errors import UpstreamError
from mirror.core.jobs import Backoff
from mirror.core.replication.breaker import NEVER, Breaker
from mirror.oci.manifest import Descriptor, Manifest
from mirror.oci.names import Reference, Repository
from mirror.runtime.clock import SystemClock
from mirror.upstream.client import RegistryClient
from mirror.upstream.transport import Transport

_T = TypeVar("_T")
_PIECE = 1024 * 1024
_AT_ONCE = 4
_STALL = 60.0
# Enough for a restart of the daemon, which is what a person who pushes by hand is most likely to meet.
_AGAIN_AFTER = (1.0, 2.0, 4.0, 8.0)


def transport(socket: Path, registry: str) -> Transport:
    """The way to the daemon by its socket for operators: who asks for a registry by its name means that one."""
    clock = SystemClock()
    never = Breaker(clock=clock, random=random.SystemRandom(), backoff=Backoff(1.0, 1.0), failures=NEVER)
    url = URL(f"http://{registry}")
    return Transport(
        url, credentials=None, tls=None, proxy=None, clock=clock, breaker=never, stall=_STALL, socket=socket
    )


Reached = Callable[[int], None]
"""Is told of bytes that are through, or not any more (less than 0)."""


class Pusher:
    """Pushes the images of an archive, as any builder does: children first, the name last.

    `sent` and `there` are bytes of blobs that were sent, and that the daemon had already; `reached` is told of both.
    """

    def __init__(self, archive: Archive, client: RegistryClient) -> None:
        self._archive = archive
        self._client = client
        self._clock = SystemClock()
        self.reached: Reached = _nobody
        self.sent = 0
        self.there = 0

    async def push(self, repository: Repository, reference: Reference, manifest: Manifest) -> None:
        """Push a manifest and all that it names, of an index what is in the archive.

        Raises:
            UpstreamError: the daemon refused it, or cannot be reached for a while.
            ArchiveError: something is missing, or damaged.
        """
        for child in self.children(manifest):
            await self.push(repository, Reference(None, child.digest), child)
        await run_all((self._blob(repository, blob) for blob in manifest.blobs if not blob.is_foreign), _AT_ONCE)
        await self._insist(
            lambda: self._client.put_manifest(repository, str(reference), manifest.media_type, manifest.raw)
        )

    def children(self, manifest: Manifest) -> list[Manifest]:
        """What an index lists and the archive has."""
        return [self._archive.manifest(child) for child in manifest.manifests if self._archive.size(child.digest)]

    def total(self, manifest: Manifest) -> int:
        """Bytes of blobs that a manifest and what it lists have."""
        own = sum(blob.size for blob in manifest.blobs if not blob.is_foreign)
        return own + sum(self.total(child) for child in self.children(manifest))

    async def _blob(self, repository: Repository, blob: Descriptor) -> None:
        if await self._insist(lambda: self._client.has_blob(repository, blob)):
            self.there += blob.size
            self.reached(blob.size)
            return
        if self._archive.size(blob.digest) is None:
            raise ArchiveError(f"neither the archive nor the daemon has {blob.digest}")
        await self._insist(lambda: self._send(repository, blob))
        self.sent += blob.size

    async def _send(self, repository: Repository, blob: Descriptor) -> None:
        transfer = await self._client.begin_upload(repository, blob.digest)
        if transfer is None:  # it came from elsewhere meanwhile
            return
        through = 0

        def reached(size: int) -> None:
            nonlocal through
            through += size
            self.reached(size)

        try:
            with self._archive.open(blob.digest) as file:
                await self._client.upload_blob(repository, blob, transfer, _pieces(file, blob.size, reached))
        except BaseException:
            self.reached(-through)
            raise

    async def _insist(self, action: Callable[[], Awaitable[_T]]) -> _T:
        """Do it again while the daemon is away or busy, for as long as a restart takes."""
        for delay in _AGAIN_AFTER:
            try:
                return await action()
            except UpstreamError as error:
                if not error.transient:
                    raise
                await self._clock.sleep(error.retry_after or delay)
        return await action()


def _nobody(_: int) -> None:
    """Nobody is told."""


async def _pieces(file: BinaryIO, size: int, reached: Reached) -> AsyncIterator[bytes]:
    """The `size` bytes of a file. Raises ArchiveError: it has fewer."""
    left = size
    while left:
        piece = await asyncio.to_thread(file.read, min(_PIECE, left))
        if not piece:
            raise ArchiveError(f"a blob ends {left} bytes too early")
        left -= len(piece)
        yield piece
        reached(len(piece))
