"""Threads for what waits for a disk, and for hashing: beside the event loop, and most of the time without the GIL."""

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from mirror.core.errors import StoreUnavailableError

_T = TypeVar("_T")

_COUNT = 16  # so many files are written, hashed or synced at once
# Where processors are short the event loop goes first: every small request waits for it, large ones for the hashing.
_NICER = 10
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def is_full(error: OSError) -> bool:
    """Whether a disk, or somebody's share of it, is full."""
    return error.errno in _FULL


class Threads:
    """Some threads that do work on files, in the order in which it comes."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_COUNT, thread_name_prefix="files", initializer=_yield)

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do something in a thread. Raises StoreUnavailableError for what the operating system refuses."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except OSError as error:
            raise StoreUnavailableError(f"spool: {error}", full=is_full(error)) from error


def _yield() -> None:
    """Give this thread a lower priority than the one that made it; Linux has one for each thread."""
    me = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, me, os.getpriority(os.PRIO_PROCESS, me) + _NICER)
