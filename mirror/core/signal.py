"""A wake-up call for everyone who waits for the journal to change."""

import asyncio


class Signal:
    """Wakes all who are waiting. Arm it before you look, wait after: then no change slips through between.

    `closed` is set once the daemon is about to stop: then nobody is to wait any longer.
    """

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self._event = asyncio.Event()

    def fire(self) -> None:
        """Something changed."""
        self._event.set()
        self._event = asyncio.Event()

    def arm(self) -> asyncio.Event:
        """The event that the next `fire` sets."""
        return self._event

    def close(self) -> None:
        """The daemon is about to stop."""
        self.closed.set()
        self.fire()
