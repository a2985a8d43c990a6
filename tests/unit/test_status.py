"""The phase that the tasks of a job make."""

import pytest

from mirror.core.jobs import Job, Kind, State, Task
from mirror.core.progress import Board, Progress
from mirror.core.status import Phase, Status, status_of
from mirror.oci.manifest import OCI_MANIFEST
from mirror.oci.names import Reference, Repository, digest_of

JOB = Job(7, Repository("r", "p"), Reference("v1", None), digest_of(b""), OCI_MANIFEST, "lease", 1.0)


def task(kind: Kind, state: State, attempts: int = 0, not_before: float = 0.0) -> Task:
    """A task of the one job."""
    return Task(JOB, kind, state, attempts, not_before, "")


def status(*tasks: Task, board: Board | None = None) -> Status:
    """The status that tasks make."""
    found = status_of(tasks, board or Board())
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("replicate", "attempts", "unpack", "phase", "final"),
    [
        (State.PENDING, 0, State.PENDING, Phase.LOCAL, False),
        (State.PENDING, 0, State.SKIPPED, Phase.LOCAL, False),
        (State.PENDING, 0, State.DONE, Phase.UNPACKED, False),
        (State.PENDING, 0, State.PARKED, Phase.NOT_RUNNABLE, False),
        (State.PENDING, 0, State.CANCELLED, Phase.LOCAL, False),
        (State.PENDING, 1, State.PENDING, Phase.REPLICATING, False),
        (State.RUNNING, 0, State.PARKED, Phase.REPLICATING, False),
        (State.DONE, 0, State.RUNNING, Phase.REPLICATED, False),
        (State.DONE, 0, State.PARKED, Phase.REPLICATED, True),
        (State.PARKED, 1, State.DONE, Phase.PARKED, True),
        (State.CANCELLED, 0, State.CANCELLED, Phase.CANCELLED, True),
    ],
)
def test_a_push(replicate: State, attempts: int, unpack: State, phase: Phase, *, final: bool) -> None:
    """Whether it is unpacked counts before it is being replicated, and for the end."""
    found = status(task(Kind.UNPACK, unpack), task(Kind.REPLICATE, replicate, attempts))
    assert (found.phase, found.is_final) == (phase, final)


@pytest.mark.parametrize(
    ("state", "phase", "final"),
    [
        (State.PENDING, Phase.DELETING, False),
        (State.RUNNING, Phase.DELETING, False),
        (State.DONE, Phase.DELETED, True),
        (State.SKIPPED, Phase.DELETED, True),
        (State.PARKED, Phase.PARKED, True),
        (State.CANCELLED, Phase.CANCELLED, True),
    ],
)
def test_a_delete(state: State, phase: Phase, *, final: bool) -> None:
    """It has one task, and phases of its own."""
    found = status(task(Kind.DELETE, state))
    assert (found.phase, found.is_final, found.unpack) == (phase, final, None)


def test_the_next_try() -> None:
    """It has a time only while a task waits for it."""
    assert status(task(Kind.REPLICATE, State.PENDING, 1, 50.0)).next_try == 50.0
    assert status(task(Kind.REPLICATE, State.PENDING)).next_try is None
    assert status(task(Kind.REPLICATE, State.RUNNING, 1, 50.0)).next_try is None


def test_progress_is_that_of_the_attempt() -> None:
    """Bytes are told of a job that is being attempted, and of no other."""
    board = Board()
    with board.entry(JOB.id, Kind.REPLICATE) as progress:
        progress.done, progress.of = 3, 9
        running = status(task(Kind.REPLICATE, State.RUNNING), board=board)
        assert (running.done, running.of, running.is_moving) == (3, 9, True)
        assert status(task(Kind.REPLICATE, State.DONE), board=board).of == 0
    assert status(task(Kind.REPLICATE, State.RUNNING), board=board).of == 0


def test_progress_of_an_unpacking() -> None:
    """Layers are told of while they are unpacked, as they were at that moment, whatever goes on upstream."""
    board, tasks = Board(), (task(Kind.REPLICATE, State.PENDING), task(Kind.UNPACK, State.RUNNING))
    with board.entry(JOB.id, Kind.UNPACK) as progress:
        progress.layers_of = 2
        before = status(*tasks, board=board)
        progress.layers_done = 1
        assert before.unpacking == Progress(layers_of=2)
        assert status(*tasks, board=board) != before
        assert (before.of, before.is_moving) == (0, True)
    over = status(*tasks, board=board)
    assert (over.unpacking, over.is_moving) == (None, False)


def test_no_tasks() -> None:
    """There is no status of what was never pushed."""
    assert status_of((), Board()) is None
