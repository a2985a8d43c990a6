"""Waiting for a condition with a deadline, which is the only way in which anything here waits."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE = 0.02


def until(probe: Callable[[], T | None], what: str, seconds: float = 60.0) -> T:
    """Call `probe` until its answer is true, and return that answer.

    Raises:
        TimeoutError: not within `seconds`; names `what` was waited for and the last answer.
    """
    deadline = time.monotonic() + seconds
    while not (answer := probe()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s, last answer {answer!r}")
        time.sleep(_PAUSE)
    return answer
