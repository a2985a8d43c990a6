"""Bringing blobs to one upstream: asked for first, then mounted from where it lies there already, then sent."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress

import structlog

from mirror.core.concurrency import Locks
from mirror.core.errors import ContentMissingError, JournalUnavailableError, UpstreamError
from mirror.core.ports import (
    Attributes,
    Clock,
    Content,
    Nobody,
    Observer,
    Tracer,
    Transfer,
    Transfers,
    Untraced,
    Upstream,
)
from mirror.core.replication.doubts import Doubts
from mirror.core.replication.pace import Throttle
from mirror.core.replication.precedence import Precedence
from mirror.core.replication.turns import SMALL, Turns, Wish
from mirror.core.trace import BLOB, RESULT, SIZE
from mirror.oci.manifest import Descriptor
from mirror.oci.names import Repository

_log = structlog.get_logger(__name__)

Reached = Callable[[int], None]
"""Told how many bytes of a blob are upstream by now."""


class Carrier:
    """Brings blobs to one upstream, each one once, whoever asks for it and however many do.

    What breaks off is gone on with where the upstream says that it stopped, by this process or the next.
    """

    def __init__(  # noqa: PLR0913 - its collaborators, each by name
        self,
        upstream: Upstream,
        *,
        content: Content,
        transfers: Transfers,
        clock: Clock,
        turns: Turns,
        precedence: Precedence,
        throttle: Throttle,
        observer: Observer | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._upstream = upstream
        self._content = content
        self._transfers = transfers
        self._clock = clock
        self._turns = turns
        self._precedence = precedence
        self._throttle = throttle
        self._observer = observer or Nobody()
        self._tracer = tracer or Untraced()
        self._locks = Locks()
        self._wanted: dict[str, list[tuple[Wish, Reached]]] = {}
        self._doubts = Doubts()

    async def bring(self, wish: Wish, blob: Descriptor, reached: Reached) -> None:
        """See a blob upstream.

        Raises:
            UpstreamError, StoreUnavailableError: it did not get there this time.
            ContentMissingError: it is neither here nor there.
        """
        said: Attributes = {BLOB: blob.digest, SIZE: blob.size}
        with self._tracer.span("blob.replicate", said) as span, self._wanting(wish, blob, reached) as everybody:
            async with self._locks.alone(blob.digest):
                span.note({RESULT: await self._bring(wish, blob, everybody)})

    @contextmanager
    def _wanting(self, wish: Wish, blob: Descriptor, reached: Reached) -> Iterator[Reached]:
        """Whoever wants a blob is told how far it is, although only one of them at a time is about it."""
        wanted, this = self._wanted.setdefault(blob.digest, []), (wish, reached)
        wanted.append(this)

        def everybody(size: int) -> None:
            for _, listener in wanted:
                listener(size)

        try:
            with nullcontext() if wish.gives_way else self._first(wish for wish, _ in wanted):
                yield everybody
        finally:
            wanted.remove(this)
            if not wanted:
                del self._wanted[blob.digest]

    @contextmanager
    def _first(self, wishes: Iterable[Wish]) -> Iterator[None]:
        """Go first, and so do those who are about the same blob already."""
        for wish in wishes:
            self._precedence.promote(wish)
        self._turns.grant()
        with self._precedence.first():
            yield

    async def _bring(self, wish: Wish, blob: Descriptor, reached: Reached) -> str:
        """See a blob upstream; says whether it was `found` there, `mounted` or `sent`."""
        repository, result = wish.repository, "found"
        if await self._is_there(repository, blob):
            _log.info("blob.found", blob=blob.digest)
            reached(blob.size)
        else:
            async with self._turns.turn(wish):
                result = await self._transfer(wish, blob, reached)
        self._doubts.end(_asked(repository, blob))
        await _noted(self._transfers.saw(repository, blob.digest, self._clock.now()))
        return result

    async def _is_there(self, repository: Repository, blob: Descriptor) -> bool:
        """Ask for a blob, but not for ever: a registry may fail at that until the blob is sent again.

        distribution does, when it was killed while it wrote the link from a repository to a blob. After enough failures
        it is not even asked: one more could open the breaker, and then nothing would be sent either.
        """
        asked = _asked(repository, blob)
        if self._doubts.are_enough(asked):
            return False
        try:
            return await self._upstream.has_blob(repository, blob)
        except UpstreamError as error:
            if error.is_failing:
                self._doubts.grow(asked)
            raise

    async def _transfer(self, wish: Wish, blob: Descriptor, reached: Reached) -> str:
        repository = wish.repository
        if await self._content.size(blob.digest) is None:
            raise ContentMissingError(blob.digest)
        source = await self._transfers.elsewhere(repository, blob.digest)
        transfer = await self._resumed(repository, blob) or await self._begun(repository, blob, source)
        if transfer is None and not await self._upstream.has_blob(repository, blob):
            transfer = await self._begun(repository, blob)  # it said that it mounted the blob, and would say so again
        if transfer is None:
            reached(blob.size)
        else:
            await self._send(wish, blob, transfer, reached)
            await self._verify(repository, blob)
            self._observer.sent(repository.registry, blob.size)
        _log.info("blob.sent" if transfer else "blob.mounted", blob=blob.digest, size=blob.size)
        return "sent" if transfer else "mounted"

    async def _verify(self, repository: Repository, blob: Descriptor) -> None:
        if not await self._upstream.has_blob(repository, blob):
            await _noted(self._transfers.forget(repository, blob.digest))
            raise UpstreamError(f"accepted {blob.digest} but does not have it", transient=True)

    async def _resumed(self, repository: Repository, blob: Descriptor) -> Transfer | None:
        """Where an upload of this blob goes on that broke off earlier; None to begin anew."""
        known = await self._transfers.find(repository, blob.digest)
        if known is None:
            return None
        found = await self._found(repository, known)
        if found is None or not 0 < found.offset <= blob.size:
            await _noted(self._transfers.forget(repository, blob.digest))
            return None
        await _noted(self._transfers.note(repository, blob.digest, found, self._clock.now()))
        _log.info("blob.resumed", blob=blob.digest, offset=found.offset, size=blob.size)
        return found

    async def _found(self, repository: Repository, known: Transfer) -> Transfer | None:
        """Ask where an upload stands, but not for ever: an upstream that answers all else may never answer that."""
        try:
            found = await self._upstream.find_upload(repository, known)
        except UpstreamError:
            self._doubts.grow(known.location)
            if not self._doubts.are_enough(known.location):
                raise
            found = None
        self._doubts.end(known.location)
        return found

    async def _begun(
        self, repository: Repository, blob: Descriptor, source: Repository | None = None
    ) -> Transfer | None:
        """A new upload; None when the upstream mounted the blob from `source` instead."""
        try:
            transfer = await self._upstream.begin_upload(repository, blob.digest, source)
        except UpstreamError as error:
            if error.transient or source is None:
                raise
            transfer = await self._upstream.begin_upload(repository, blob.digest)  # we may not mount from there
        if transfer and blob.size > SMALL:
            await _noted(self._transfers.note(repository, blob.digest, transfer, self._clock.now()))
        return transfer

    async def _send(self, wish: Wish, blob: Descriptor, transfer: Transfer, reached: Reached) -> None:
        """Send what is missing; when the link breaks in the middle, go on for as long as each try gets further."""
        repository = wish.repository
        while True:
            try:
                data = self._paced(wish, blob, transfer.offset, reached)
                return await self._upstream.upload_blob(repository, blob, transfer, data)
            except UpstreamError as error:
                further = await self._further(repository, blob, transfer, error)
                if further is None:
                    raise
                transfer = further

    async def _paced(self, wish: Wish, blob: Descriptor, offset: int, reached: Reached) -> AsyncIterator[bytes]:
        """The bytes from `offset`, no faster than they may go."""
        reached(offset)
        async for data in self._content.read(blob.digest, offset):
            await self._precedence.give_way(wish)
            async for piece in self._throttle.let_through(data):
                yield piece
                offset += len(piece)
                reached(offset)

    async def _further(
        self, repository: Repository, blob: Descriptor, transfer: Transfer, error: UpstreamError
    ) -> Transfer | None:
        """Where a broken upload goes on right now; None to leave it to another attempt.

        Raises:
            UpstreamError: what the upstream had of it could not be gone on from; the next attempt begins anew.
        """
        if not error.transient and transfer.offset:
            await _noted(self._transfers.forget(repository, blob.digest))
            raise UpstreamError(str(error), transient=True) from error
        if not error.transient or error.retry_after is not None or blob.size <= SMALL:
            return None
        further = await self._resumed(repository, blob)
        return further if further and further.offset > transfer.offset else None


def _asked(repository: Repository, blob: Descriptor) -> str:
    return f"{repository}@{blob.digest}"


async def _noted(note: Awaitable[None]) -> None:
    """Notes save work later on; that one cannot be written now is no reason to stop working."""
    with suppress(JournalUnavailableError):
        await note
