"""Pushing a blob: upload sessions, each one ingest of the content store under a lease of its own."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import structlog

from mirror.core.admission import Admission
from mirror.core.drain import Gate
from mirror.core.errors import DigestMismatchError, JournalUnavailableError, StoreUnavailableError, TenantFullError
from mirror.core.fairness import AtOnce
from mirror.core.leases import let_go
from mirror.core.party import MAKERS, NOBODY, Party
from mirror.core.ports import (
    NO_CLAIM,
    Claim,
    Clock,
    Content,
    Grants,
    Ingest,
    Leases,
    Nobody,
    Observer,
    Tracer,
    Untraced,
    UploadRow,
    Uploads,
)
from mirror.core.sessions import Sessions
from mirror.core.timeline import Arrival, Arrivals, Blobs
from mirror.core.trace import BLOB, SIZE
from mirror.core.upload import Chunk, check_length, check_size, check_start
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.names import Digest, Repository

_log = structlog.get_logger(__name__)
_SWEEP_EVERY = 60.0
# A lease cannot be prolonged, so it has to outlast a slow upload whose session is renewed by each of its requests.
_SHORTEST_LEASE = 86400.0
_TRY_AGAIN = 5.0
_CLOSE_IDLE_AFTER = 300.0

UPLOADS = "registry-mirror/upload/"
"""What the leases and the ingests of upload sessions begin with."""

MADE = UPLOADS + "made-"
"""What those of them begin with that hold what is made here."""

Lend = Callable[[Repository, Digest, Repository, Callable[[int], Claim]], Awaitable[int | None]]
"""Promises a repository a blob that its upstream has in another one, and that belongs to whom the last one says.

Returns its size in bytes, None where there is none to be had.
"""

Arrived = Callable[[Repository, Digest, int], None]
"""Told of every blob that was pushed, with its size in bytes."""


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What each party may have: bodies `at_once`, and open `sessions`.

    And the most bytes of a `blob`, and of all that a `tenant` has here; 0 is no limit.
    """

    at_once: int = 128
    sessions: int = 1000
    blob: int = 0
    tenant: int = 0


@dataclass(slots=True)
class _Open:
    """A session whose write stream is open in this process; it can be closed at any time and opened again."""

    ingest: Ingest
    used: float


class BlobPush:
    """The use cases of `/v2/<name>/blobs/uploads/`.

    The stream into the store stays open between the requests of a session, because opening it again makes containerd
    hash all it has so far. What a crash leaves is the row in the journal and the bytes in the ingest: enough to go on.
    The journal is asked only after sessions of an earlier life; those that were begun here are known.
    """

    def __init__(  # noqa: PLR0913 - its collaborators, each by name
        self,
        *,
        content: Content,
        leases: Leases,
        uploads: Uploads,
        grants: Grants,
        clock: Clock,
        new_id: Callable[[], str],
        max_age: float,
        arrived: Arrived,
        gate: Gate,
        admission: Admission,
        limits: UploadLimits,
        lend: Lend | None = None,
        arrivals: Arrivals | None = None,
        observer: Observer | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._content = content
        self._leases = leases
        self._uploads = uploads
        self._grants = grants
        self._clock = clock
        self._new_id = new_id
        self._max_age = max_age
        self._arrived = arrived
        self._gate = gate
        self._admission = admission
        self._limits = limits
        self._lend = lend
        self._arrivals = arrivals or Arrivals()
        self._observer = observer or Nobody()
        self._tracer = tracer or Untraced()
        self._at_once = AtOnce(limits.at_once, Problem.TOO_MANY_UPLOADS, _TRY_AGAIN)
        self._sessions = Sessions(limits.sessions)
        self._lease_seconds = max(_SHORTEST_LEASE, 2 * max_age)
        self._begun: dict[str, UploadRow] = {}
        self._open: dict[str, _Open] = {}
        self._writing: set[str] = set()
        self._beginning: set[str] = set()

    def sessions(self) -> int:
        """How many were begun and not finished."""
        return self._sessions.number()

    def in_flight(self) -> frozenset[str]:
        """The leases of sessions and mounts that the journal does not know of yet."""
        return frozenset(self._beginning)

    def limit(self, limits: UploadLimits) -> None:
        """Other limits, for what begins from now on."""
        self._limits = limits
        self._at_once.most, self._sessions.most = limits.at_once, limits.sessions

    async def recall(self) -> None:
        """Count the sessions of an earlier life, before any is begun. Raises JournalUnavailableError."""
        for upload in await self._uploads.stale(math.inf):
            self._sessions.recall(upload)

    async def begin(self, repository: Repository, by: Party = NOBODY) -> UploadRow:
        """Start a session, which counts for a party.

        Raises:
            StoreUnavailableError; RegistryError: DRAINING, NO_ROOM, TOO_MANY_SESSIONS.
        """
        self._gate.check()
        self._admission.check(1)
        upload = UploadRow(self._id(by), repository, self._clock.now(), by.name)
        self._sessions.begin(upload)
        try:
            async with self._leased(_name(upload.id)):
                await self._uploads.begin(upload)
        except BaseException:  # a cancelled request too: nobody knows of this session
            self._sessions.end(upload)
            raise
        self._begun[upload.id] = upload
        return upload

    async def mount(
        self, repository: Repository, digest: Digest, source: Repository | None, by: Party = NOBODY
    ) -> bool:
        """Give a repository a blob that another one of its registry holds: `source`, or any if that is None.

        Or promise it, where the upstream lends it. Returns False when there is none to give.

        Raises:
            StoreUnavailableError, TenantFullError; RegistryError: DRAINING.
        """
        self._gate.check()
        if source is None:
            held = await self._grants.anywhere(repository.registry, digest)
        else:
            held = digest in await self._grants.granted(source, [digest])
        if held and await self.adopt(repository, digest, by):
            return True
        if self._lend is None or source is None:
            return False
        return await self._lend(repository, digest, source, partial(self._claim, by)) is not None

    def _id(self, by: Party) -> str:
        return MADE.removeprefix(UPLOADS) + self._new_id() if by == MAKERS else self._new_id()

    async def adopt(self, repository: Repository, digest: Digest, by: Party) -> bool:
        """Grant a blob, if the store has it.

        It is leased first and looked for then, as it may be collected in between. Raises StoreUnavailableError,
        TenantFullError.
        """
        lease = _name(self._id(by))
        async with self._leased(lease):
            await self._leases.hold(lease, digest)
            size = await self._content.size(digest)
            if size is None:
                unneeded: str | None = lease
            else:
                unneeded = await self._grants.grant(repository, digest, lease, self._claim(by, size))
        await let_go(self._leases, unneeded)
        return size is not None

    async def _others(self, by: Party, besides: Digest | None = None) -> int:
        """What the tenant has beside the blob that comes, where that matters."""
        return await self._grants.held_by(by.tenant, besides) if self._claim(by, 0).most else 0

    def _claim(self, by: Party, size: int) -> Claim:
        return Claim(by.tenant, size, self._limits.tenant if by.tenant else 0)

    @asynccontextmanager
    async def _leased(self, lease: str) -> AsyncIterator[None]:
        """Make a lease, and let it go if the journal does not take what it is for."""
        self._beginning.add(lease)
        try:
            await self._leases.create(lease, seconds=self._lease_seconds)
            yield
        except (JournalUnavailableError, TenantFullError):
            await let_go(self._leases, lease)
            raise
        finally:
            self._beginning.discard(lease)

    async def append(self, repository: Repository, upload_id: str, chunk: Chunk) -> int:
        """Take a chunk; returns how many bytes the session holds now.

        Raises:
            RegistryError: UPLOAD_UNKNOWN (its bytes may be gone from the store, too), UPLOAD_BUSY, RANGE_INVALID,
                SIZE_INVALID, BLOB_TOO_LARGE, NO_ROOM, TOO_MANY_UPLOADS.
            TenantFullError: it is refused before its first byte where its length is known.
        """
        others = await self._others(chunk.by)
        async with self._write(repository, upload_id) as (upload, ingest):
            await self._receive(upload, ingest, chunk, others)
            await ingest.flush()
        await self._uploads.touch(upload_id, self._clock.now())
        return ingest.offset

    async def finish(self, repository: Repository, upload_id: str, digest: Digest, chunk: Chunk) -> None:
        """Take the last chunk (it may be empty) and make the bytes a blob of the repository.

        Raises:
            RegistryError: as `append`; DIGEST_INVALID, after which the session is gone.
            TenantFullError: as `append`; if others of its tenant took the room meanwhile, the session is gone, too.
        """
        others = await self._others(chunk.by, digest)
        async with self._write(repository, upload_id) as (upload, ingest):
            await self._receive(upload, ingest, chunk, others)
            last_byte = self._clock.now()
            earlier = await self._commit(upload, ingest, digest, self._claim(chunk.by, ingest.offset))
        self._arrivals.note(repository, digest, Arrival(upload.touched, last_byte, Blobs(1, ingest.offset)))
        self._observer.received(ingest.offset)
        self._arrived(repository, digest, ingest.offset)
        await let_go(self._leases, earlier)

    async def _commit(self, upload: UploadRow, ingest: Ingest, digest: Digest, claim: Claim) -> str | None:
        """Make the bytes a blob of the repository; returns the lease of an earlier upload of it."""
        try:
            with self._tracer.span("blob.commit", {BLOB: digest, SIZE: ingest.offset}):
                await ingest.commit(digest)
        except DigestMismatchError as error:
            await self._drop(upload)
            raise RegistryError(Problem.DIGEST_INVALID, str(error)) from error
        self._open.pop(upload.id)
        self._begun.pop(upload.id, None)
        earlier = await self._granted(upload, digest, claim)
        self._sessions.end(upload)
        return earlier

    async def _granted(self, upload: UploadRow, digest: Digest, claim: Claim) -> str | None:
        """Grant a blob that was committed and end its session; returns the lease of an earlier upload of it."""
        try:
            return await self._uploads.finish(upload, digest, _name(upload.id), claim)
        except TenantFullError:
            await self._drop(upload)
            raise

    async def push(self, repository: Repository, digest: Digest, chunk: Chunk) -> None:
        """Push a whole blob in one request; nothing stays behind when it fails."""
        upload = await self.begin(repository, chunk.by)
        try:
            await self.finish(repository, upload.id, digest, chunk)
        except BaseException:  # a cancelled push too: nobody would come back to this session
            await asyncio.shield(self._drop(upload))
            raise

    async def add(self, repository: Repository, made: AsyncIterator[bytes], digest: Callable[[], Digest]) -> None:
        """Make a blob of what is made here, whose digest is known after its last byte.

        Nothing stays behind when it fails, and nobody is told that it arrived.

        Raises:
            StoreUnavailableError; RegistryError: DRAINING, NO_ROOM, BLOB_TOO_LARGE; whatever `made` raises.
        """
        upload = await self.begin(repository, MAKERS)
        try:
            async with self._write(repository, upload.id) as (_, ingest):
                await self._receive(upload, ingest, Chunk(made, None, None, MAKERS), 0)
                if await self._has(repository, digest()):
                    await self._drop(upload)
                    return
                earlier = await self._commit(upload, ingest, digest(), NO_CLAIM)
        except BaseException:  # a cancelled one too
            await asyncio.shield(self._drop(upload))
            raise
        await let_go(self._leases, earlier)

    async def _has(self, repository: Repository, digest: Digest) -> bool:
        held = await self._grants.granted(repository, [digest])
        return bool(held) and await self._content.size(digest) is not None

    async def drop_made(self) -> None:
        """Drop what an earlier life was making. Raises StoreUnavailableError, JournalUnavailableError."""
        for upload in await self._uploads.stale(math.inf):
            if upload.owner == MAKERS.name and upload.id not in self._writing:
                await self._drop(upload)

    def receiving(self) -> int:
        """How many builders are sending a blob just now."""
        begun = (self._begun.get(upload_id) for upload_id in self._writing)
        return sum(upload is None or upload.owner != MAKERS.name for upload in begun)

    async def offset(self, repository: Repository, upload_id: str) -> int:
        """How many bytes a session holds; changes nothing. Raises RegistryError: UPLOAD_UNKNOWN."""
        await self._find(repository, upload_id)
        if session := self._open.get(upload_id):
            return session.ingest.offset
        return await self._content.ingested(_name(upload_id)) or 0

    async def cancel(self, repository: Repository, upload_id: str) -> None:
        """End a session and drop its bytes. Raises RegistryError: UPLOAD_UNKNOWN."""
        await self._drop(await self._find(repository, upload_id))

    async def sweep(self) -> None:
        """Close streams that nobody writes to and drop sessions past their age, for as long as the daemon runs."""
        while True:
            await self._clock.sleep(min(_SWEEP_EVERY, self._max_age / 2))
            await self._close_idle()
            try:
                await self._drop_stale()
            except (StoreUnavailableError, JournalUnavailableError) as error:
                _log.warning("upload.sweep.postponed", reason=str(error))

    async def _close_idle(self) -> None:
        idle_since = self._clock.monotonic() - _CLOSE_IDLE_AFTER
        for upload_id in [u for u, s in self._open.items() if s.used < idle_since and u not in self._writing]:
            await self._open.pop(upload_id).ingest.close()

    async def _drop_stale(self) -> None:
        for upload in await self._uploads.stale(self._clock.now() - self._max_age):
            if upload.id not in self._writing:
                _log.info("upload.expired", upload=upload.id, repository=str(upload.repository))
                await self._drop(upload)

    async def close(self) -> None:
        """Park every session: its bytes stay in the store, its row in the journal."""
        for session in self._open.values():
            await session.ingest.close()
        self._open.clear()

    async def _find(self, repository: Repository, upload_id: str) -> UploadRow:
        upload = self._begun.get(upload_id) or await self._uploads.find(upload_id)
        if upload is None or upload.repository != repository:
            raise RegistryError(Problem.UPLOAD_UNKNOWN)
        return upload

    @asynccontextmanager
    async def _kept(self, upload: UploadRow) -> AsyncIterator[None]:
        """A failure of the store ends a session that it has nothing of any more: the client is to begin anew."""
        try:
            yield
        except StoreUnavailableError as error:
            if error.full or not await self._is_lost(upload):
                raise
            _log.warning("upload.lost", upload=upload.id, repository=str(upload.repository), reason=str(error))
            await self._drop(upload)
            raise RegistryError(Problem.UPLOAD_UNKNOWN, "what it held was removed from containerd") from error

    async def _is_lost(self, upload: UploadRow) -> bool:
        """Whether somebody removed the lease of a session, or the ingest that is open: writes go on, but no commit."""
        name = _name(upload.id)
        if name not in await self._leases.list(name):
            return True
        return upload.id in self._open and await self._content.ingested(name) is None

    @asynccontextmanager
    async def _write(self, repository: Repository, upload_id: str) -> AsyncIterator[tuple[UploadRow, Ingest]]:
        """Own a session's stream for one request; a refusal leaves it open, any other failure closes it."""
        upload = await self._find(repository, upload_id)
        if upload_id in self._writing:
            raise RegistryError(Problem.UPLOAD_BUSY)
        self._writing.add(upload_id)
        try:
            session = self._open.get(upload_id) or await self._reopen(upload)
            try:
                async with self._kept(upload):
                    yield upload, session.ingest
            except (RegistryError, TenantFullError):
                raise
            except BaseException:  # a cancelled request too: the store's lock on the ref must not outlive it
                self._open.pop(upload_id, None)
                await asyncio.shield(session.ingest.close())
                raise
            session.used = self._clock.monotonic()
        finally:
            self._writing.discard(upload_id)

    async def _reopen(self, upload: UploadRow) -> _Open:
        async with self._kept(upload):
            ingest = await self._content.ingest(_name(upload.id), _name(upload.id))
        session = self._open[upload.id] = _Open(ingest, self._clock.monotonic())
        return session

    async def _receive(self, upload: UploadRow, ingest: Ingest, chunk: Chunk, others: int) -> None:
        before = ingest.offset
        check_start(chunk, before)
        self._check_size(before + (chunk.length or 0), chunk.by, others)
        with self._at_once.one(chunk.by.name), self._admission.admitted(chunk.length) as allowance:
            async for data in chunk.body:
                self._check_size(ingest.offset + len(data), chunk.by, others)
                allowance.take(len(data))
                await ingest.write(data)
        try:
            check_length(chunk, ingest.offset - before)
        except RegistryError:
            await self._drop(upload)  # what it holds now is not what the client thinks it holds
            raise

    def _check_size(self, size: int, by: Party, others: int) -> None:
        """Refuse a blob of so many bytes. Raises RegistryError: BLOB_TOO_LARGE; TenantFullError."""
        check_size(size, self._limits.blob)
        self._claim(by, size).check(others)

    async def _drop(self, upload: UploadRow) -> None:
        """Forget a session and its bytes; the row goes last, so that a failure on the way is swept up later."""
        self._begun.pop(upload.id, None)
        if session := self._open.pop(upload.id, None):
            await session.ingest.close()
        await self._content.abort(_name(upload.id))
        await self._leases.delete(_name(upload.id))
        await self._uploads.end(upload.id)
        self._sessions.end(upload)


def _name(upload_id: str) -> str:
    """What a session's lease is called, and its ingest too."""
    return UPLOADS + upload_id
