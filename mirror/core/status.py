"""Where one job stands, as builders and operators are told it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from mirror.core.jobs import FINISHED, Job, Kind, State, Task
from mirror.core.progress import Board, Progress


class Phase(StrEnum):
    """How far a job is: LOCAL → UNPACKED → REPLICATING → REPLICATED, or DELETING → DELETED.

    NOT_RUNNABLE is in the place of UNPACKED when that cannot be. PARKED needs a person, CANCELLED was given up by one.
    An image that is not unpacked here may be replicating all the same.
    """

    LOCAL = "local"
    UNPACKED = "unpacked"
    NOT_RUNNABLE = "not runnable"
    REPLICATING = "replicating"
    REPLICATED = "replicated"
    DELETING = "deleting"
    DELETED = "deleted"
    PARKED = "parked"
    CANCELLED = "cancelled"


_HERE = {State.DONE: Phase.UNPACKED, State.PARKED: Phase.NOT_RUNNABLE}
_GIVEN_UP = {State.PARKED: Phase.PARKED, State.CANCELLED: Phase.CANCELLED}


@dataclass(frozen=True, slots=True)
class Status:
    """A job at one moment: `task` brings it upstream, `unpack` is none for a delete.

    `done` and `of` are bytes of blobs, 0 unless the upstream is being fed right now; `unpacking` is how far that has
    come, None unless it is under way.
    """

    task: Task
    unpack: Task | None = None
    done: int = 0
    of: int = 0
    unpacking: Progress | None = None

    @property
    def job(self) -> Job:
        """What it is the status of."""
        return self.task.job

    @property
    def phase(self) -> Phase:
        """How far it is."""
        state = self.task.state
        if state in _GIVEN_UP:
            return _GIVEN_UP[state]
        if self.task.kind is Kind.DELETE:
            return Phase.DELETED if state in FINISHED else Phase.DELETING
        if state in FINISHED:
            return Phase.REPLICATED
        if state is State.RUNNING or self.task.attempts:
            return Phase.REPLICATING
        return _HERE.get(self.unpack.state, Phase.LOCAL) if self.unpack else Phase.LOCAL

    @property
    def next_try(self) -> float | None:
        """Unix time of the next attempt, None when it is not waiting for one."""
        return self.task.not_before or None if self.task.state is State.PENDING else None

    @property
    def is_moving(self) -> bool:
        """Whether its figures change all the time, with no change of its tasks to tell of them."""
        return self.of > 0 or self.unpacking is not None

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will happen upstream by itself, well or not."""
        return self.task.state in FINISHED

    @property
    def is_final(self) -> bool:
        """Whether it will not change by itself any more."""
        return self.is_settled and (self.unpack is None or self.unpack.state in FINISHED)


def status_of(tasks: Iterable[Task], board: Board) -> Status | None:
    """The status that the tasks of one job make, None when there are none."""
    by_kind = {task.kind: task for task in tasks}
    task = by_kind.get(Kind.REPLICATE) or by_kind.get(Kind.DELETE)
    if task is None:
        return None
    unpack = by_kind.get(Kind.UNPACK)
    sent, unpacking = _progress(task, board) or Progress(), _progress(unpack, board)
    return Status(task, unpack, sent.done, sent.of, unpacking)


def _progress(task: Task | None, board: Board) -> Progress | None:
    return board.find(task.job.id, task.kind) if task and task.state is State.RUNNING else None
