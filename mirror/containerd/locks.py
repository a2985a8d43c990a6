"""Waiting for a ref that another writer still has."""

import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mirror.core.errors import StoreUnavailableError
from mirror.core.ports import Clock

_T = TypeVar("_T")

# A write is refused with the first, an abort with the second: it removes a directory that the stream still writes to.
_BUSY = re.compile(r"\blocked for\b|directory not empty")
_PATIENCE = 5.0
_POLL = 0.2


async def when_free(clock: Clock, step: Callable[[], Awaitable[_T]]) -> _T:
    """Repeat a step on an upload until the writer that had it has let go, which may be a moment after its end.

    Raises:
        StoreUnavailableError: it has not within some seconds, or the step failed for another reason.
    """
    give_up = clock.monotonic() + _PATIENCE
    while True:
        try:
            return await step()
        except StoreUnavailableError as error:
            if not _BUSY.search(str(error)) or clock.monotonic() >= give_up:
                raise
        await clock.sleep(_POLL)
