"""Threads for files: what they do for the event loop, and what the operating system refuses them."""

import errno
import os
import threading

import pytest

from mirror.containerd.threads import Threads
from mirror.core.errors import StoreUnavailableError

LAST = 19  # the highest that there is


def niceness() -> int:
    """Of the thread that asks: the higher, the later it gets a processor."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


async def test_the_event_loop_goes_first() -> None:
    """Where processors are short, small requests do not wait for the hashing of large ones."""
    assert await Threads().run(niceness) == min(niceness() + 10, LAST)


@pytest.mark.parametrize(("code", "full"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False)])
async def test_a_refusal(code: int, *, full: bool) -> None:
    """It says whether it is for want of room."""

    def refused() -> None:
        raise OSError(code, os.strerror(code))

    with pytest.raises(StoreUnavailableError, match=os.strerror(code)) as refusal:
        await Threads().run(refused)
    assert refusal.value.full is full
