"""Outlasting a journal that cannot be written for a while: its disk is full, or fails."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from mirror.core.errors import JournalUnavailableError
from mirror.core.ports import Clock

_Result = TypeVar("_Result")
_log = structlog.get_logger(__name__)
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 8.0


async def outlast(clock: Clock, work: Callable[[], Awaitable[_Result]]) -> _Result:
    """Do `work`, again and again until the journal takes it; the log says once that it does not, and that it does.

    Nothing tells when there is room on a disk again, so that is tried out, every few seconds.
    """
    wait = 0.0
    while True:
        try:
            result = await work()
        except JournalUnavailableError as error:
            if not wait:
                _log.warning("journal.unavailable", reason=str(error))
            wait = min(2 * wait, _LONGEST_WAIT) or _FIRST_WAIT
            await clock.sleep(wait)
        else:
            if wait:
                _log.info("journal.available")
            return result
