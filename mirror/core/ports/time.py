"""Time, as the rules see it."""

import asyncio
from typing import Protocol


class Clock(Protocol):
    """Time as the rules see it, in seconds."""

    def now(self) -> float:
        """Unix time; may jump."""

    def monotonic(self) -> float:
        """Never jumps, means nothing outside this process."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        """Wait for an event, but no longer than `seconds` (None: without end)."""
