"""Blobs on their way here from an upstream: each is fetched once, and whoever wants it reads along."""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import BinaryIO

import structlog

from mirror.core.admission import Admission, Allowance
from mirror.core.errors import DigestMismatchError, JournalUnavailableError, StoreUnavailableError, UpstreamError
from mirror.core.leases import let_go
from mirror.core.ports import (
    Clock,
    Content,
    Grants,
    Incoming,
    Ingest,
    Leases,
    Scratch,
    ScratchFile,
    Transfers,
    Upstream,
)
from mirror.core.signal import Signal
from mirror.oci.names import Digest, Repository

_log = structlog.get_logger(__name__)

PULLS = "registry-mirror/pull/"
"""What the leases and the ingests of what is pulled begin with."""

LASTS = 10800.0
"""Seconds for which what was pulled is held without an image that refers to it."""

_AT_ONCE = 32
_COPIES = 2  # for a while: in the store, and in the scratch file

Arrived = Callable[[Repository, Digest], None]
"""Told of every blob that came."""


class Fetch:
    """One blob on its way here. Its bytes are in a scratch file, too, as nobody can read what containerd is sent."""

    def __init__(self, repository: Repository, digest: Digest) -> None:
        self.repository = repository
        self.digest = digest
        self.readers = 0
        self.task: asyncio.Task[None] | None = None
        self.size = -1
        self._scratch: ScratchFile | None = None
        self._written = 0
        self._is_verified = False
        self._failure: Exception | None = None
        self._moved = Signal()

    @property
    def is_over(self) -> bool:
        """Whether it has ended, well or not."""
        return self._is_verified or self._failure is not None

    def begin(self, size: int | None, scratch: ScratchFile) -> None:
        """The upstream answers; of a blob whose size it does not say nobody is told before all of it is there."""
        self._scratch = scratch
        if size is not None:
            self.size = size
        self._moved.fire()

    async def append(self, data: bytes) -> None:
        """More of it is there. Raises StoreUnavailableError."""
        if self._scratch is None:
            raise RuntimeError("a fetch that did not begin")
        with _full_disks():
            await self._scratch.append(data)
        self._written += len(data)
        self._moved.fire()

    def succeed(self) -> None:
        """All of it is there, and is what it should be."""
        self._is_verified = True
        self.size = self._written
        self._moved.fire()

    def fail(self, error: Exception) -> None:
        """It will not come."""
        self._failure = error
        self._moved.fire()

    async def begun(self) -> None:
        """Wait until its size is known. Raises what it ended with."""
        while self.size < 0:
            await self._move()

    async def ended(self) -> None:
        """Wait until all of it is here. Raises what it ended with."""
        while not self._is_verified:
            await self._move()

    def file(self) -> BinaryIO:
        """See `Coming.file`."""
        if self._scratch is None:
            raise RuntimeError("a fetch that did not begin")
        return self._scratch.file()

    async def ready(self, part: range) -> range:
        """See `Coming.ready`."""
        while not (ready := self._ready(part)):
            await self._move()
        return ready

    def _ready(self, part: range) -> range:
        end = self._written if self._is_verified else min(self._written, part.stop - 1)
        return part[: max(end - part.start, 0)]

    async def _move(self) -> None:
        """Wait for it to get further."""
        moved = self._moved.arm()
        if self._failure:
            raise self._failure
        await moved.wait()

    async def close(self) -> None:
        """Let go of the scratch file, once nobody reads or writes it any more."""
        if self._scratch and self.is_over and not self.readers:
            await self._scratch.close()


class Fetcher:
    """Fetches blobs, for as long as anybody wants them."""

    def __init__(  # noqa: PLR0913 - its collaborators, each by name
        self,
        *,
        content: Content,
        leases: Leases,
        grants: Grants,
        transfers: Transfers,
        upstreams: Mapping[str, Upstream],
        admission: Admission,
        scratch: Scratch,
        clock: Clock,
        new_id: Callable[[], str],
        arrived: Arrived,
    ) -> None:
        self._content = content
        self._leases = leases
        self._grants = grants
        self._transfers = transfers
        self._upstreams = upstreams
        self._admission = admission
        self._scratch = scratch
        self._clock = clock
        self._new_id = new_id
        self._arrived = arrived
        self._wanted = asyncio.Queue[Fetch]()
        self._under_way: dict[tuple[Repository, Digest], Fetch] = {}
        self._in_flight: set[str] = set()

    def in_flight(self) -> frozenset[str]:
        """The ingests that something is coming into just now."""
        return frozenset(self._in_flight)

    async def run(self) -> None:
        """Fetch what is wanted, for as long as the daemon runs."""
        places = asyncio.Semaphore(_AT_ONCE)
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await places.acquire()
                    fetch = await self._wanted.get()
                    fetch.task = group.create_task(self._bring(fetch))
                    fetch.task.add_done_callback(lambda _: places.release())
        finally:
            for fetch in self._under_way.values():  # whose turn never came
                fetch.fail(UpstreamError("broken off", transient=True))

    @asynccontextmanager
    async def following(self, repository: Repository, digest: Digest) -> AsyncIterator[Fetch]:
        """Read along with the fetch of a blob, which begins if there is none, and ends with its last reader.

        Raises:
            ContentMissingError: the upstream does not have it.
            UpstreamError, StoreUnavailableError; RegistryError: NO_ROOM.
        """
        key = repository, digest
        if key not in self._under_way:
            self._under_way[key] = Fetch(*key)
            self._wanted.put_nowait(self._under_way[key])
        fetch = self._under_way[key]
        fetch.readers += 1
        try:
            await fetch.begun()
            yield fetch
        finally:
            fetch.readers -= 1
            if not fetch.readers and not fetch.is_over:
                self._give_up(fetch)
            await fetch.close()

    def _give_up(self, fetch: Fetch) -> None:
        """Nobody wants it any more; whoever comes now begins anew."""
        self._forget(fetch)
        if fetch.task:
            fetch.task.cancel()
        else:
            fetch.fail(UpstreamError("nobody waited for it", transient=True))

    def _forget(self, fetch: Fetch) -> None:
        key = fetch.repository, fetch.digest
        if self._under_way.get(key) is fetch:
            del self._under_way[key]

    async def _bring(self, fetch: Fetch) -> None:
        """Fetch a blob; how that ends is for those to hear who wait for it."""
        if fetch.is_over:  # before its turn came
            return
        began = self._clock.monotonic()
        try:
            await self._carry(fetch)
        except asyncio.CancelledError:
            fetch.fail(UpstreamError("broken off", transient=True))
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where somebody waits for it
            fetch.fail(error)
            reason = str(error) or type(error).__name__
            _log.warning("pull.failed", repository=str(fetch.repository), blob=fetch.digest, reason=reason)
        else:
            seconds = round(self._clock.monotonic() - began, 3)
            _log.info(
                "blob.pulled", repository=str(fetch.repository), blob=fetch.digest, size=fetch.size, seconds=seconds
            )
            self._arrived(fetch.repository, fetch.digest)
        finally:
            self._forget(fetch)
            await fetch.close()

    async def _carry(self, fetch: Fetch) -> None:
        name = PULLS + self._new_id()
        self._in_flight.add(name)
        try:
            async with self._upstreams[fetch.repository.registry].open_blob(fetch.repository, fetch.digest) as incoming:
                size = None if incoming.size is None else _COPIES * incoming.size
                with self._admission.admitted(size) as allowance:
                    with _full_disks():
                        scratch = await self._scratch.open(incoming.size or 0)
                    fetch.begin(incoming.size, scratch)
                    await self._leases.create(name, seconds=LASTS)
                    await self._store(fetch, incoming, name, allowance)
            earlier = await self._grants.grant(fetch.repository, fetch.digest, name)
        finally:
            self._in_flight.discard(name)
        fetch.succeed()
        await let_go(self._leases, earlier)
        with suppress(JournalUnavailableError):  # it only saves work later on
            await self._transfers.saw(fetch.repository, fetch.digest, self._clock.now())

    async def _store(self, fetch: Fetch, incoming: Incoming, name: str, allowance: Allowance) -> None:
        """Write what comes into the store, and into the scratch file."""
        ingest = await self._content.ingest(name, name)
        try:
            async for data in incoming.data:
                allowance.take(_COPIES * len(data))
                await ingest.write(data)
                await fetch.append(data)
            await ingest.commit(fetch.digest)
        except BaseException as error:  # a fetch that is given up, too
            await asyncio.shield(self._drop(ingest, name))
            if isinstance(error, DigestMismatchError):
                raise UpstreamError(f"the upstream serves other bytes for {fetch.digest}", transient=False) from error
            raise

    async def _drop(self, ingest: Ingest, name: str) -> None:
        """Leave nothing behind; what cannot be removed now is the reconciler's."""
        await ingest.close()
        with suppress(StoreUnavailableError):
            await self._content.abort(name)
        await let_go(self._leases, name)


@contextmanager
def _full_disks() -> Iterator[None]:
    """What the operating system refuses, in the words of the store."""
    try:
        yield
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise StoreUnavailableError(f"scratch: {error}", full=full) from error
