"""How far the jobs under way have come: for people to look at, so it is kept in memory only."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class Progress:
    """Bytes of blobs known to be upstream, of all that a job has to bring there; manifests are not counted."""

    done: int = 0
    of: int = 0


class Board:
    """The progress of every replication that is being attempted."""

    def __init__(self) -> None:
        self._jobs: dict[int, Progress] = {}

    @contextmanager
    def entry(self, job_id: int) -> Iterator[Progress]:
        """A job's progress, to be kept up to date until its attempt is over."""
        progress = self._jobs[job_id] = Progress()
        try:
            yield progress
        finally:
            del self._jobs[job_id]

    def find(self, job_id: int) -> Progress | None:
        """How far a job has come, None when it is not being attempted."""
        return self._jobs.get(job_id)
