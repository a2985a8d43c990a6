"""Whether containerd is there: it may start after us, restart, be upgraded, or hang."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from mirror.core.errors import StoreUnavailableError
from mirror.core.ports import Clock, Introspection, StoreFacts

_log = structlog.get_logger(__name__)
_EVERY = 1.0


class Presence:
    """Watches over containerd: what we ask of it fails at once while it is away, and goes on when it is back.

    `found` is told what it says of itself, at first and after each change. `lost` is called with the reason as soon as
    it does not answer, or cannot be worked with; `back` when it answers again.
    """

    def __init__(
        self,
        introspection: Introspection,
        clock: Clock,
        *,
        found: Callable[[StoreFacts], Awaitable[None]],
        lost: Callable[[str], None],
        back: Callable[[], Awaitable[None]],
    ) -> None:
        self._introspection = introspection
        self._clock = clock
        self._found = found
        self._lost = lost
        self._back = back
        self.reason: str | None = None
        """Why containerd cannot be used just now; None when it can, or was not asked yet."""
        self.facts: StoreFacts | None = None
        """What it last said of itself."""

    async def watch(self) -> None:
        """Ask it every second whether it is there, for as long as the daemon runs."""
        while True:
            try:
                await self._look()
            except StoreUnavailableError as error:
                self._lose(str(error))
            await self._clock.sleep(_EVERY)

    async def _look(self) -> None:
        facts = await self._introspection.ask()
        if self.reason is None and facts == self.facts:
            return
        await self._introspection.prepare()
        _log.info("containerd.ready", version=facts.version, content=str(facts.content))
        if self.facts and self.facts.content != facts.content:
            _log.error("containerd.moved", content=str(facts.content), before=str(self.facts.content))
        self.facts = facts
        if self.reason is not None:
            self.reason = None
            await self._back()
        await self._tell(facts)

    async def _tell(self, facts: StoreFacts) -> None:
        """Tell what was found. Who is told may want more of containerd, so go on looking until they are done."""
        telling = asyncio.ensure_future(self._found(facts))
        try:
            while not (await asyncio.wait([telling], timeout=_EVERY))[0]:
                await self._introspection.ask()
            telling.result()
        finally:
            telling.cancel()
            await asyncio.wait([telling])

    def _lose(self, reason: str) -> None:
        if reason != self.reason:
            _log.warning("containerd.unavailable", reason=reason)
        self.reason = reason
        self._lost(reason)
