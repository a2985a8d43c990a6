"""How late the event loop is: what blocks it, all requests wait for."""

import asyncio
import time
from collections.abc import Callable

_EVERY = 0.25


async def measure(lagged: Callable[[float], None]) -> None:
    """Tell four times a second how much later than it was due a timer went off, for as long as the daemon runs."""
    while True:
        due = time.monotonic() + _EVERY
        await asyncio.sleep(_EVERY)
        lagged(max(time.monotonic() - due, 0.0))
