"""When there is nothing more urgent on this host than to make a variant."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import structlog

from mirror.core.ports import Clock
from mirror.core.progress import Progress

_log = structlog.get_logger(__name__)

_LOOK_EVERY = 1.0
_WAIT = 0.5


@dataclass(slots=True)
class Quiet:
    """What a conversion makes way for: pushes, unpackings, and others on the processors.

    `load` is the share of the processors that others use, and `most` what it may be.
    """

    pushes: Callable[[], int]
    unpacks: Callable[[], int]
    load: Callable[[], float]
    most: float

    def disturbed(self) -> str:
        """What is more urgent just now, empty if nothing is."""
        if self.pushes():
            return "a push"
        if self.unpacks():
            return "an unpacking"
        if self.load() > self.most:
            return "others on the processors"
        return ""


def anyway() -> str:
    """For what a person asked for: nothing is more urgent."""
    return ""


class Pace:
    """One conversion on its way: between any two pieces it waits until nothing is more urgent.

    `still` raises whatever says that it is not wanted any more, and is asked about once a second.
    """

    def __init__(
        self, clock: Clock, disturbed: Callable[[], str], still: Callable[[], Awaitable[None]], progress: Progress
    ) -> None:
        self._clock = clock
        self._disturbed = disturbed
        self._still = still
        self._asked = float("-inf")
        self._progress = progress

    async def keep(self, pieces: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
        """Pass on what a layer of `size` bytes becomes, each piece in its time."""
        passed = 0
        async for piece in pieces:
            await self.turn()
            step = min(len(piece), size - passed)
            passed += step
            self._progress.done += step
            yield piece
        self._progress.done += size - passed

    async def turn(self) -> None:
        """Wait until it is our turn."""
        await self._ask()
        is_told = False
        while reason := self._disturbed():
            if not is_told:
                _log.info("variant.waits", reason=reason)
                is_told = True
            await self._clock.sleep(_WAIT)
            await self._ask()

    async def _ask(self) -> None:
        now = self._clock.monotonic()
        if now - self._asked >= _LOOK_EVERY:
            self._asked = now
            await self._still()
