"""Threads for what waits for a disk, and for hashing: beside the event loop, and most of the time without the GIL."""

import asyncio
import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from mirror.core.errors import StoreUnavailableError

_T = TypeVar("_T")

_COUNT = 16  # so many files are written, hashed or synced at once
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def is_full(error: OSError) -> bool:
    """Whether a disk, or somebody's share of it, is full."""
    return error.errno in _FULL


class Threads:
    """Some threads that do work on files, in the order in which it comes."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_COUNT, thread_name_prefix="files")

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do something in a thread. Raises StoreUnavailableError for what the operating system refuses."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except OSError as error:
            raise StoreUnavailableError(f"spool: {error}", full=is_full(error)) from error
