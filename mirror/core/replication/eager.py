"""A head start: blobs go upstream from the moment they are here, before the manifest comes that names them."""

import asyncio
from collections.abc import Mapping

import structlog

from mirror.core.errors import ContentMissingError, JournalUnavailableError, StoreUnavailableError, UpstreamError
from mirror.core.ports import Clock, Tracer, Untraced
from mirror.core.replication.carrier import Carrier
from mirror.core.replication.turns import Wish
from mirror.core.trace import Trace
from mirror.oci.manifest import Descriptor
from mirror.oci.names import Digest, Repository

_log = structlog.get_logger(__name__)
_OFFERS = 256
_AT_ONCE = 16


class HeadStart:
    """Brings blobs upstream that no job asks for yet; the lease of their upload holds them meanwhile.

    Nothing depends on it: what it does not bring, the job of the manifest will. So it is kept in memory only, and what
    does not work is left at that.
    """

    def __init__(self, carriers: Mapping[str, Carrier], clock: Clock, tracer: Tracer | None = None) -> None:
        self._carriers = carriers
        self._clock = clock
        self._tracer = tracer or Untraced()
        self._offers: asyncio.Queue[tuple[Wish, Descriptor, Trace | None]] = asyncio.Queue(_OFFERS)

    def offer(self, repository: Repository, digest: Digest, size: int) -> None:
        """A blob is here."""
        if not self._offers.full():
            wish = Wish(repository, size, self._clock.now())
            self._offers.put_nowait((wish, Descriptor(digest=digest, size=size), self._tracer.current()))

    async def run(self) -> None:
        """Take up what is offered, for as long as the daemon runs."""
        places = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            while True:
                await places.acquire()
                work = group.create_task(self._bring(*await self._offers.get()))
                work.add_done_callback(lambda _: places.release())

    async def _bring(self, wish: Wish, blob: Descriptor, trace: Trace | None) -> None:
        try:
            with self._tracer.joined("head_start", trace):
                await self._carriers[wish.repository.registry].bring(wish, blob, lambda _: None)
        except (UpstreamError, StoreUnavailableError, ContentMissingError, JournalUnavailableError) as error:
            _log.info("head_start.left", blob=blob.digest, repository=str(wish.repository), reason=str(error))
