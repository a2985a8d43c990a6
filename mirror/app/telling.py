"""What systemd is told of the daemon: how it is doing, and that it needs more time.

Source: sd_notify(3), "STATUS", "EXTEND_TIMEOUT_USEC".
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mirror.app.daemon import Daemon
from mirror.core.errors import JournalUnavailableError
from mirror.core.jobs import Kind, State
from mirror.core.ports import Clock
from mirror.runtime import systemd

_LOOK_EVERY = 5.0
_MORE_TIME = 15.0
_AGAIN_AFTER = 5.0


class Telling:
    """Keeps the line up to date that `systemctl status` shows."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._told = ""

    async def run(self) -> None:
        """Tell whatever is new every few seconds, for as long as the daemon runs."""
        while True:
            words = await self._words()
            if words != self._told:
                systemd.notify(f"STATUS={words}")
                self._told = words
            await self._daemon.clock.sleep(_LOOK_EVERY)

    async def _words(self) -> str:
        reasons = self._daemon.readiness.reasons()
        away = [name for name, breaker in self._daemon.breakers.items() if breaker.is_open]
        parts = [
            f"no pushes: {', '.join(reasons)}" if reasons else "ready",
            await self._jobs(),
            f"upstream {', '.join(sorted(away))} away" if away else "",
        ]
        return "; ".join(filter(None, parts))

    async def _jobs(self) -> str:
        try:
            counts = (await self._daemon.watch.counts())[Kind.REPLICATE]
        except JournalUnavailableError as error:
            return str(error)
        moving, parked = counts[State.PENDING] + counts[State.RUNNING], counts[State.PARKED]
        words = [f"{_images(moving)} on their way" if moving else "", f"{_images(parked)} parked" if parked else ""]
        return ", ".join(filter(None, words))


def _images(number: int) -> str:
    return "1 image" if number == 1 else f"{number} images"


@asynccontextmanager
async def taking_longer(clock: Clock) -> AsyncIterator[None]:
    """Have systemd wait for as long as the event loop is alive, beyond the time that the unit gives."""

    async def ask() -> None:
        while True:
            systemd.notify(f"EXTEND_TIMEOUT_USEC={_MORE_TIME * 1e6:.0f}")
            await clock.sleep(_AGAIN_AFTER)

    asking = asyncio.create_task(ask())  # noqa: TID251 - it ends with what it stands beside
    try:
        yield
    finally:
        asking.cancel()
