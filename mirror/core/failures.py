"""The attempts that failed of late: for people to look at, so they are kept in memory only."""

from collections import deque
from dataclasses import dataclass

from mirror.core.jobs import Outcome, Task
from mirror.core.ports import Clock

_KEPT = 20


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt at a task that failed at `time` (Unix time), and what became of it."""

    time: float
    task: Task
    outcome: Outcome


class Failures:
    """The last twenty; in the log are all of them (`task.failed`)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: deque[Failure] = deque(maxlen=_KEPT)

    def note(self, task: Task, outcome: Outcome) -> None:
        """An attempt failed just now."""
        self._kept.append(Failure(self._clock.now(), task, outcome))

    def latest(self) -> list[Failure]:
        """What is remembered, the newest first."""
        return list(reversed(self._kept))
