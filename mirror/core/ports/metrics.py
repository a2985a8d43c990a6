"""What is worth counting, told to whoever counts."""

from collections.abc import Sequence
from typing import Protocol

from mirror.core.jobs import Job, Outcome, Task


class Metrics(Protocol):
    """What happens, as it happens; telling it never fails and takes no time worth speaking of."""

    def acknowledged(self, jobs: Sequence[Job], seconds: float) -> None:
        """A manifest was acknowledged under each of its references, so many seconds after it came."""

    def attempted(self, task: Task, outcome: Outcome, seconds: float, now: float) -> None:
        """An attempt that took so many seconds ended at `now` (Unix time); the task is as it was before."""

    def evicted(self, images: int, size: int) -> None:
        """Image records went, and with them so many bytes of content."""


class _Untold:
    def acknowledged(self, jobs: Sequence[Job], seconds: float) -> None:
        pass

    def attempted(self, task: Task, outcome: Outcome, seconds: float, now: float) -> None:
        pass

    def evicted(self, images: int, size: int) -> None:
        pass


UNTOLD: Metrics = _Untold()
"""Where nobody counts."""
