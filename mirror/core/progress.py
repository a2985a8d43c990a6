"""How far the tasks under way have come: for people to look at, so it is kept in memory only."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from mirror.core.jobs import Kind


@dataclass(slots=True)
class Progress:
    """Bytes of blobs that an attempt is through with, of all that it has to do; manifests are not counted.

    An unpacking counts its layers too, and their bytes as they were pushed.
    """

    done: int = 0
    of: int = 0
    layers_done: int = 0
    layers_of: int = 0


class Board:
    """The progress of every task that is being attempted."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[int, Kind], Progress] = {}

    @contextmanager
    def entry(self, job_id: int, kind: Kind) -> Iterator[Progress]:
        """The progress of one task of a job, to be kept up to date until its attempt is over."""
        progress = self._tasks[job_id, kind] = Progress()
        try:
            yield progress
        finally:
            del self._tasks[job_id, kind]

    def total(self, kind: Kind) -> Progress:
        """What all tasks of a kind that are being attempted have done and have to do."""
        found = [progress for (_, of_kind), progress in self._tasks.items() if of_kind is kind]
        return Progress(sum(progress.done for progress in found), sum(progress.of for progress in found))

    def find(self, job_id: int, kind: Kind) -> Progress | None:
        """How far a task has come just now, None when it is not being attempted."""
        progress = self._tasks.get((job_id, kind))
        return progress and replace(progress)
