"""How late the event loop is: what blocks it holds up everybody."""

from collections.abc import Callable

from mirror.runtime.clock import SystemClock

_EVERY = 0.25


async def watch_lag(tell: Callable[[float], None], clock: SystemClock) -> None:
    """Sleep again and again, and tell by how many seconds more than that it took, for as long as the daemon runs."""
    while True:
        before = clock.monotonic()
        await clock.sleep(_EVERY)
        tell(max(clock.monotonic() - before - _EVERY, 0.0))
