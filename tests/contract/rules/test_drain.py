"""Draining, on a real journal."""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import pairwise

import pytest

from mirror.core.drain import Backlog, Drain, Ending, Gate
from mirror.core.jobs import Kind, Outcome, State
from mirror.core.ports import Jobs
from mirror.core.signal import Signal
from mirror.oci.errors import Problem, RegistryError
from tests.contract.pushes import push
from tests.unit.clock import EPOCH, ManualClock

DONE = Outcome(State.DONE)


class Rig:
    """A drain, what it waits for, and what it told."""

    def __init__(self, jobs: Jobs, clock: ManualClock, changed: Signal) -> None:
        self.jobs = jobs
        self.gate = Gate()
        self.pushes: set[str] = set()
        self.told: list[Backlog] = []
        self.drain = Drain(
            hurry=lambda: None,
            gate=self.gate,
            jobs=jobs,
            in_flight=lambda: frozenset(self.pushes),
            clock=clock,
            changed=changed,
        )
        self.running: list[asyncio.Task[Ending]] = []
        self._changed = changed

    def begin(self, seconds: float = 60) -> asyncio.Task[Ending]:
        """Begin a drain."""
        task = asyncio.create_task(self.drain.run(seconds, self._tell))
        self.running.append(task)
        return task

    async def settle(self, *kinds: Kind, outcome: Outcome = DONE) -> None:
        """Carry out the oldest task of each kind."""
        for kind in kinds:
            task = await self.jobs.claim(kind, EPOCH, 3600)
            assert task is not None
            await self.jobs.settle(task, outcome)
        self._changed.fire()

    async def _tell(self, backlog: Backlog) -> None:
        assert not self.gate.is_open
        self.told.append(backlog)


@pytest.fixture
async def rig(jobs: Jobs, clock: ManualClock, changed: Signal) -> AsyncIterator[Rig]:
    rig = Rig(jobs, clock, changed)
    yield rig
    for task in rig.running:
        task.cancel()
    await asyncio.gather(*rig.running, return_exceptions=True)


def refused(check: Callable[[], None]) -> bool:
    """Whether new pushes are refused, and because of a drain."""
    try:
        check()
    except RegistryError as error:
        return error.problem is Problem.DRAINING
    return False


async def test_nothing_to_wait_for(rig: Rig) -> None:
    """It ends at once, and pushes are refused until it is undone."""
    assert await rig.begin() is Ending.DRAINED
    assert (refused(rig.gate.check), rig.drain.refuses) == (True, True)
    rig.drain.undo()
    assert (refused(rig.gate.check), rig.drain.refuses) == (False, False)


async def test_it_waits_for_every_task(rig: Rig, jobs: Jobs, clock: ManualClock) -> None:
    """Of every kind; each change is told once, and a signal that changes nothing is none."""
    await jobs.enqueue(push())
    draining = rig.begin()
    await clock.until_asleep(60)
    for _ in range(5):  # each is a chance to tell what was told before
        await rig.settle()
        await jobs.backlog()
    await rig.settle(Kind.UNPACK)
    await clock.until_asleep(60)
    await rig.settle(Kind.REPLICATE)
    assert await draining is Ending.DRAINED
    assert (rig.told[0], rig.told[-1]) == (Backlog(0, 2, 0, 0), Backlog(0, 0, 0, 0))
    assert all(earlier != later for earlier, later in pairwise(rig.told))


async def test_what_waits_is_due(rig: Rig, jobs: Jobs, clock: ManualClock, changed: Signal) -> None:
    """Nobody waits for the end of a back-off, and the workers are told."""
    await jobs.enqueue(push())
    await rig.settle(Kind.REPLICATE, Kind.UNPACK, outcome=Outcome(State.PENDING, "503", EPOCH + 300))
    event = changed.arm()
    draining = rig.begin()
    await event.wait()
    await clock.until_asleep(60)
    await rig.settle(Kind.REPLICATE, Kind.UNPACK)
    assert await draining is Ending.DRAINED


async def test_what_is_parked_is_not_waited_for(rig: Rig, jobs: Jobs) -> None:
    """It is counted; pushes are refused after that end too."""
    await jobs.enqueue(push())
    await rig.settle(Kind.REPLICATE, outcome=Outcome(State.PARKED, "401"))
    await rig.settle(Kind.UNPACK)
    assert await rig.begin() is Ending.PARKED
    assert rig.told == [Backlog(pushes=0, pending=0, running=0, parked=1)]
    assert refused(rig.gate.check)


async def test_a_push_that_it_let_pass(rig: Rig, clock: ManualClock) -> None:
    """A manifest that is being acknowledged when it begins is waited for, though the journal does not know it yet."""
    rig.pushes.add("lease")
    draining = rig.begin()
    await clock.until_asleep(60)
    await rig.jobs.enqueue(push())
    rig.pushes.clear()
    await rig.settle(Kind.UNPACK)
    await clock.until_asleep(60)
    await rig.settle(Kind.REPLICATE)
    assert await draining is Ending.DRAINED
    assert rig.told[0] == Backlog(pushes=1, pending=0, running=0, parked=0)


async def test_not_in_time(rig: Rig, jobs: Jobs, clock: ManualClock) -> None:
    """Pushes are taken again, also where a drain before this one had got to its end."""
    await rig.begin()
    await jobs.enqueue(push())
    draining = rig.begin()
    await clock.until_asleep(60)
    clock.advance(60)
    assert await draining is Ending.TIMEOUT
    assert not refused(rig.gate.check)


async def test_given_up(rig: Rig, jobs: Jobs, clock: ManualClock) -> None:
    """Whoever asked for it is gone: pushes are taken again, unless another drain is under way."""
    await jobs.enqueue(push())
    first, second = rig.begin(60), rig.begin(70)
    await clock.until_asleep(70)
    for draining, closed in ((first, True), (second, False)):
        draining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await draining
        assert refused(rig.gate.check) is closed


async def test_the_end_of_the_daemon(rig: Rig, jobs: Jobs, clock: ManualClock, changed: Signal) -> None:
    """It does not wait for what will not happen any more."""
    await jobs.enqueue(push())
    draining = rig.begin()
    await clock.until_asleep(60)
    changed.close()
    assert await draining is Ending.STOPPING
