"""What a person does about jobs, on a real journal and with real leases."""

from dataclasses import replace

import pytest

from mirror.core.jobs import Job, Kind, NewDelete, NewJob, Outcome, State, Task
from mirror.core.leases import JobLeases
from mirror.core.operate import Operator, Verdict
from mirror.core.ports import Grants, Jobs, Leases
from mirror.core.progress import Board
from mirror.core.publish import JOB_LEASES
from mirror.core.replication.fallback import FallbackTags
from mirror.core.replication.retract import Retractor
from mirror.core.signal import Signal
from tests.contract.pushes import REPOSITORY, push
from tests.unit.clock import EPOCH, ManualClock

PARKED = Outcome(State.PARKED, "401")
DONE = Outcome(State.DONE)


@pytest.fixture
def converting() -> set[int]:
    """The jobs for which a variant is being made."""
    return set()


@pytest.fixture
def operator(
    jobs: Jobs, leases: Leases, clock: ManualClock, board: Board, changed: Signal, converting: set[int]
) -> Operator:
    def stop(job: int, reason: str) -> bool:
        assert reason == "cancelled by the operator"
        return job in converting

    job_leases = JobLeases(jobs=jobs, leases=leases, clock=clock, in_flight=frozenset, changed=changed)
    return Operator(jobs=jobs, leases=job_leases, board=board, hurry=lambda: None, stop=stop, changed=changed)


async def acknowledge(jobs: Jobs, leases: Leases, new: NewJob, **outcomes: Outcome) -> Job:
    """A push with its lease, whose tasks ended like this (by kind)."""
    await leases.create(new.lease)
    job = await jobs.enqueue(new)
    for kind, outcome in outcomes.items():
        await jobs.settle(await claim(jobs, Kind(kind)), outcome)
    return job


async def claim(jobs: Jobs, kind: Kind) -> Task:
    """Claim the oldest due task of a kind."""
    task = await jobs.claim(kind, EPOCH, 3600)
    assert task is not None
    return task


async def test_a_retry_wakes_the_workers(operator: Operator, jobs: Jobs, leases: Leases, changed: Signal) -> None:
    """A parked task is due, and whoever waits for work is told."""
    job = await acknowledge(jobs, leases, push(), replicate=PARKED, unpack=PARKED)
    event = changed.arm()
    (verdict,) = await operator.retry([job.id])
    assert (verdict.job, set(verdict.kinds), verdict.refusal) == (job.id, {Kind.REPLICATE, Kind.UNPACK}, "")
    assert event.is_set()
    assert (await claim(jobs, Kind.UNPACK)).job == job


async def test_all_that_is_stuck(operator: Operator, jobs: Jobs, leases: Leases, changed: Signal) -> None:
    """Every job with such tasks is named once, with all of them."""
    first = await acknowledge(jobs, leases, push("a"), replicate=PARKED, unpack=PARKED)
    await acknowledge(jobs, leases, push("b"), replicate=DONE, unpack=DONE)
    third = await acknowledge(jobs, leases, push("c"), replicate=Outcome(State.PENDING, "503", EPOCH + 9), unpack=DONE)
    event = changed.arm()
    verdicts = await operator.retry_all()
    assert [(verdict.job, set(verdict.kinds)) for verdict in verdicts] == [
        (first.id, {Kind.REPLICATE, Kind.UNPACK}),
        (third.id, {Kind.REPLICATE}),
    ]
    assert event.is_set()


async def test_what_cannot_be_done_is_said(operator: Operator, jobs: Jobs, leases: Leases) -> None:
    """Each job gets its own answer: unknown, over, being attempted; the others are not held up by it."""
    over = await acknowledge(jobs, leases, push("a"), replicate=DONE, unpack=Outcome(State.SKIPPED))
    running = await acknowledge(jobs, leases, push("b"), unpack=PARKED)
    await claim(jobs, Kind.REPLICATE)
    parked = await acknowledge(jobs, leases, push("c"), replicate=PARKED, unpack=DONE)
    assert await operator.cancel([99, over.id, running.id, parked.id]) == [
        Verdict(99, refusal="no such job"),
        Verdict(over.id, refusal="nothing to cancel: replicate done, unpack skipped"),
        Verdict(running.id, refusal="replicate running: cancel it when the attempt is over"),
        Verdict(parked.id, (Kind.REPLICATE,)),
    ]


async def test_a_conversion_is_given_up_in_the_middle(
    operator: Operator, jobs: Jobs, leases: Leases, converting: set[int]
) -> None:
    """And the parked tasks of its job with it; its lease is left to the attempt. Before its attempt it has to wait."""
    job = await acknowledge(jobs, leases, replace(push(), convert=True), replicate=DONE, unpack=PARKED)
    await claim(jobs, Kind.CONVERT)
    converting.add(job.id)
    assert await operator.cancel([job.id]) == [Verdict(job.id, (Kind.UNPACK, Kind.CONVERT))]
    assert job.lease in await leases.list(JOB_LEASES)
    converting.clear()
    refusal = "convert running: cancel it when the attempt is over"
    assert await operator.cancel([job.id]) == [Verdict(job.id, refusal=refusal)]


async def test_the_lease_ends_with_the_job(operator: Operator, jobs: Jobs, leases: Leases, changed: Signal) -> None:
    """Nothing holds the content of a cancelled job any more, and whoever waits for it is told."""
    job = await acknowledge(jobs, leases, push("a"), replicate=PARKED, unpack=DONE)
    other = await acknowledge(jobs, leases, push("b"), replicate=PARKED, unpack=DONE)
    event = changed.arm()
    await operator.cancel([job.id])
    there = await leases.list(JOB_LEASES)
    assert job.lease not in there
    assert other.lease in there
    assert event.is_set()
    assert [task.reason for task in await operator.tasks(State.CANCELLED, 9)] == ["cancelled by the operator"]


async def test_a_delete_is_given_up(operator: Operator, jobs: Jobs) -> None:
    """It has no lease that could end."""
    pushed = push()
    delete = await jobs.enqueue_delete(NewDelete(REPOSITORY, pushed.reference, pushed.digest, pushed.media_type, EPOCH))
    assert await operator.cancel([delete.id]) == [Verdict(delete.id, (Kind.DELETE,))]


async def test_a_late_delete_takes_nothing_away(operator: Operator, jobs: Jobs, grants: Grants, leases: Leases) -> None:
    """A parked delete that is retried after its tag was pushed again is skipped: that push is upstream, and stays."""
    pushed = push()
    delete = await jobs.enqueue_delete(NewDelete(REPOSITORY, pushed.reference, pushed.digest, pushed.media_type, EPOCH))
    await jobs.settle(await claim(jobs, Kind.DELETE), PARKED)
    await acknowledge(jobs, leases, pushed, replicate=DONE, unpack=DONE)
    await operator.retry([delete.id])
    retractor = Retractor(jobs=jobs, upstreams={}, fallback=FallbackTags(grants))
    outcome = await retractor.attempt(await claim(jobs, Kind.DELETE))
    assert outcome == Outcome(State.SKIPPED, "pushed again since")
