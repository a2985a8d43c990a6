"""A clock that stands still until a test moves it."""

import asyncio
import math

from mirror.core.signal import Signal

EPOCH = 1_700_000_000.0


class ManualClock:
    """Implements `mirror.core.ports.Clock`; `advance` wakes those whose time has come, and nobody else."""

    def __init__(self) -> None:
        self._unix = EPOCH
        self._monotonic = 0.0
        self._alarms: dict[asyncio.Timeout, float] = {}
        self._asleep = Signal()

    def now(self) -> float:
        """Unix time; starts at `EPOCH`."""
        return self._unix

    def monotonic(self) -> float:
        """Seconds that tests have let pass."""
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        """Wait until a test has let `seconds` pass."""
        await self.wait(asyncio.Event(), seconds)

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        """Wait for an event, or until a test has let `seconds` pass."""
        try:
            async with asyncio.timeout(None) as alarm:
                self._alarms[alarm] = math.inf if seconds is None else self._monotonic + seconds
                self._asleep.fire()
                try:
                    await event.wait()
                finally:
                    del self._alarms[alarm]
        except TimeoutError:
            return

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._unix += seconds
        self._monotonic += seconds
        for alarm in [alarm for alarm, due in self._alarms.items() if due <= self._monotonic]:
            alarm.reschedule(asyncio.get_running_loop().time())

    def jump(self, seconds: float) -> None:
        """Set Unix time forward, or back where `seconds` is negative, as an operator or NTP does."""
        self._unix += seconds

    async def until_asleep(self, seconds: float = math.inf) -> None:
        """Return once somebody waits for the moment `seconds` from now; infinity: without end."""
        while self._monotonic + seconds not in self._alarms.values():
            await self._asleep.arm().wait()
