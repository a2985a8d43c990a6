"""Waiting for an image, on a real journal."""

import asyncio
from pathlib import Path

import pytest

from mirror.core.jobs import Job, Kind, Outcome, State, Task
from mirror.core.ports import Jobs
from mirror.core.progress import Board
from mirror.core.signal import Signal
from mirror.core.status import Phase
from mirror.core.watch import Watch
from tests.contract.pushes import REPOSITORY, push
from tests.rig.disk import damage
from tests.unit.clock import EPOCH, ManualClock


@pytest.fixture
def watch(jobs: Jobs, board: Board, clock: ManualClock, changed: Signal) -> Watch:
    return Watch(jobs=jobs, board=board, clock=clock, changed=changed)


def wait(watch: Watch, job: Job, seconds: float = 60) -> asyncio.Task[Task | None]:
    """Begin to wait for a job's unpacking."""
    return asyncio.create_task(watch.wait(REPOSITORY, job.reference, Kind.UNPACK, seconds))


async def settle(jobs: Jobs, state: State, kind: Kind = Kind.UNPACK, not_before: float = 0.0) -> None:
    """Carry out the oldest task of a kind."""
    task = await jobs.claim(kind, EPOCH, 3600)
    assert task is not None
    await jobs.settle(task, Outcome(state, "reason", not_before))


@pytest.mark.parametrize("state", [State.DONE, State.SKIPPED, State.PARKED, State.CANCELLED])
async def test_what_is_finished_is_told_at_once(watch: Watch, jobs: Jobs, state: State) -> None:
    """Well or not: nobody waits for what will not change by itself."""
    job = await jobs.enqueue(push())
    await settle(jobs, state)
    task = await wait(watch, job)
    assert task is not None
    assert (task.job, task.state, task.reason) == (job, state, "reason")


async def test_a_change_ends_the_wait(watch: Watch, jobs: Jobs, clock: ManualClock, changed: Signal) -> None:
    """A signal that changes nothing lets it wait on; the one after the last step ends it, with no time passed."""
    waiting = wait(watch, await jobs.enqueue(push()))
    await clock.until_asleep(60)
    changed.fire()
    await clock.until_asleep(60)
    await settle(jobs, State.DONE)
    changed.fire()
    task = await waiting
    assert task is not None
    assert task.state is State.DONE
    assert clock.now() == EPOCH


async def test_time_is_up(watch: Watch, jobs: Jobs, clock: ManualClock) -> None:
    """The task comes back as it stands; a jump of Unix time in between takes nothing from the limit."""
    waiting = wait(watch, await jobs.enqueue(push()))
    await clock.until_asleep(60)
    clock.jump(3600)
    clock.advance(59)
    await clock.until_asleep(1)
    clock.advance(1)
    task = await waiting
    assert task is not None
    assert task.state is State.PENDING


async def test_no_time_at_all(watch: Watch, jobs: Jobs) -> None:
    """Zero seconds are a question of how it stands."""
    task = await wait(watch, await jobs.enqueue(push()), seconds=0)
    assert task is not None
    assert task.state is State.PENDING


async def test_what_was_never_pushed(watch: Watch, jobs: Jobs) -> None:
    """There is nothing to wait for."""
    await jobs.enqueue(push("v1"))
    assert await watch.wait(REPOSITORY, push("v2").reference, Kind.UNPACK, 60) is None


async def test_a_later_push_is_waited_for(watch: Watch, jobs: Jobs, clock: ManualClock, changed: Signal) -> None:
    """Who waits for a tag gets what the tag means in the end."""
    waiting = wait(watch, await jobs.enqueue(push()))
    await clock.until_asleep(60)
    newest = await jobs.enqueue(push())
    await settle(jobs, State.DONE)
    await settle(jobs, State.DONE)
    changed.fire()
    task = await waiting
    assert task is not None
    assert task.job == newest


async def test_counts_name_every_state(watch: Watch, jobs: Jobs) -> None:
    """Also the states that no task is in, so that a reader need not know them."""
    await jobs.enqueue(push())
    await settle(jobs, State.DONE)
    counts = await watch.counts()
    assert counts[Kind.REPLICATE] == {**dict.fromkeys(State, 0), State.PENDING: 1}
    assert counts[Kind.UNPACK] == {**dict.fromkeys(State, 0), State.DONE: 1}
    assert [task.kind for task in await watch.unfinished(10)] == [Kind.REPLICATE]


async def test_it_does_not_hold_up_a_shutdown(watch: Watch, jobs: Jobs, clock: ManualClock, changed: Signal) -> None:
    """A wait under way ends with the task as it stands, and a later one does not begin."""
    job = await jobs.enqueue(push())
    waiting = wait(watch, job)
    await clock.until_asleep(60)
    assert not watch.is_stopping
    changed.close()
    for task in (await waiting, await wait(watch, job)):
        assert task is not None
        assert task.state is State.PENDING
    assert watch.is_stopping


async def test_waiting_for_the_upstream(watch: Watch, jobs: Jobs, clock: ManualClock, changed: Signal) -> None:
    """Jobs of several tags are waited for until the last is replicated; the unpacking of none is."""
    pushed = [await jobs.enqueue(push(tag)) for tag in ("a", "b")]
    waiting = asyncio.create_task(watch.upstream([job.id for job in pushed], 25))
    for _ in pushed:
        await clock.until_asleep(25)
        await settle(jobs, State.DONE, Kind.REPLICATE)
        changed.fire()
    assert await waiting is Phase.REPLICATED
    assert clock.now() == EPOCH


async def test_waiting_for_a_push_is_not_waiting_for_its_tag(watch: Watch, jobs: Jobs) -> None:
    """Replicated is said of what was pushed, not of what took its tag since."""
    first = await jobs.enqueue(push())
    await settle(jobs, State.PENDING, Kind.REPLICATE, not_before=EPOCH + 60)
    second = await jobs.enqueue(push())
    await settle(jobs, State.DONE, Kind.REPLICATE)
    assert await watch.upstream([first.id], 0) is Phase.REPLICATING
    assert await watch.upstream([second.id], 0) is Phase.REPLICATED


@pytest.mark.parametrize("state", [State.PARKED, State.CANCELLED])
async def test_the_upstream_is_not_waited_for_in_vain(watch: Watch, jobs: Jobs, state: State) -> None:
    """What was given up is told at once, also beside what was not."""
    lost, done = await jobs.enqueue(push("a")), await jobs.enqueue(push("b"))
    await settle(jobs, state, Kind.REPLICATE)
    await settle(jobs, State.DONE, Kind.REPLICATE)
    assert await watch.upstream([done.id, lost.id], 25) == state.value


async def test_the_upstream_takes_too_long(watch: Watch, jobs: Jobs, clock: ManualClock) -> None:
    """When the time is over the phase is told as it is then."""
    job = await jobs.enqueue(push())
    assert await jobs.claim(Kind.REPLICATE, EPOCH, 0)
    waiting = asyncio.create_task(watch.upstream([job.id], 25))
    await clock.until_asleep(25)
    clock.advance(25)
    assert await waiting is Phase.REPLICATING


async def test_a_journal_that_fails_meanwhile(
    watch: Watch, jobs: Jobs, tmp_path: Path, clock: ManualClock, changed: Signal
) -> None:
    """What was acknowledged stays so: who waits for the upstream is told that it is on its way."""
    job = await jobs.enqueue(push())
    waiting = asyncio.create_task(watch.upstream([job.id], 25))
    await clock.until_asleep(25)
    damage(tmp_path / "journal.db", 0)
    changed.fire()
    assert await waiting is Phase.REPLICATING
