"""The loop that carries out tasks, on a real journal and with real leases."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from mirror.core.errors import ContentMissingError, StoreUnavailableError, UpstreamError
from mirror.core.failures import Failures
from mirror.core.jobs import Backoff, Job, Kind, NewJob, Outcome, State, Task
from mirror.core.ports import Jobs, Leases
from mirror.core.publish import JOB_LEASES
from mirror.core.signal import Signal
from mirror.core.worker import UpstreamLimits, Worker
from mirror.oci.names import Repository
from tests.contract.pushes import REPOSITORY, push
from tests.unit.chance import Most
from tests.unit.clock import EPOCH, ManualClock

BACKOFF = Backoff(first=8.0, longest=64.0)
DONE = Outcome(State.DONE)
ELSEWHERE = Repository("other.example.com", "team/app")
Attempt = Callable[[Task], Awaitable[Outcome]]


@dataclass
class Rig:
    """What a worker works with, and the one way to run it."""

    jobs: Jobs
    leases: Leases
    clock: ManualClock
    changed: Signal
    failures: Failures
    in_flight: set[str] = field(default_factory=set)

    async def push(self, new: NewJob | None = None) -> Job:
        """A manifest is acknowledged: lease, job, signal."""
        new = new or push()
        await self.leases.create(new.lease)
        job = await self.jobs.enqueue(new)
        self.changed.fire()
        return job

    @asynccontextmanager
    async def working(
        self, attempt: Attempt, *, at_once: int = 4, upstreams: UpstreamLimits | None = None
    ) -> AsyncIterator[None]:
        """A worker that replicates, for the length of the body."""
        worker = Worker(
            Kind.REPLICATE,
            attempt,
            jobs=self.jobs,
            leases=self.leases,
            clock=self.clock,
            random=Most(),
            backoff=BACKOFF,
            at_once=at_once,
            upstreams=upstreams,
            in_flight=lambda: frozenset(self.in_flight),
            failures=self.failures,
            changed=self.changed,
        )
        running = asyncio.create_task(worker.run())
        try:
            yield
        finally:
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    async def until(self, job: Job, state: State, attempts: int = 0) -> Task:
        """The job's replication, once it is in this state after so many failures."""
        while True:
            event = self.changed.arm()
            tasks = await self.jobs.find(REPOSITORY, job.reference)
            for task in tasks:
                if (task.job, task.kind, task.state, task.attempts) == (job, Kind.REPLICATE, state, attempts):
                    return task
            await event.wait()

    async def until_ended(self, lease: str) -> None:
        """Return when a lease is gone."""
        while True:
            event = self.changed.arm()
            if lease not in await self.leases.list(JOB_LEASES):
                return
            await event.wait()


@pytest.fixture
def rig(jobs: Jobs, leases: Leases, clock: ManualClock, changed: Signal) -> Rig:
    return Rig(jobs, leases, clock, changed, Failures(clock))


def failing_with(*errors: Exception) -> Attempt:
    """An attempt that fails with one after the other, and then succeeds."""
    ahead = list(errors)

    async def attempt(_: Task) -> Outcome:
        if ahead:
            raise ahead.pop(0)
        return DONE

    return attempt


async def succeed(_: Task) -> Outcome:
    """An attempt that has nothing to do."""
    return DONE


class Gate:
    """An attempt that waits to be let through, and knows who is inside."""

    def __init__(self) -> None:
        self.inside: list[int] = []
        self.entered = Signal()
        self._let = asyncio.Semaphore(0)

    async def attempt(self, task: Task) -> Outcome:
        """Go in, wait, go out."""
        self.inside.append(task.job.id)
        self.entered.fire()
        await self._let.acquire()
        self.inside.remove(task.job.id)
        return DONE

    def let_one_through(self) -> None:
        """The first who waits goes out."""
        self._let.release()

    async def until_inside(self, *jobs: Job) -> None:
        """Return when exactly these are inside."""
        while self.inside != [job.id for job in jobs]:
            await self.entered.arm().wait()


async def test_what_waits_at_the_start_is_carried_out(rig: Rig) -> None:
    """Tasks that were there before the worker, in the order of their pushes."""
    pushed = [await rig.push(push(tag)) for tag in ("a", "b", "c")]
    done: list[int] = []

    async def attempt(task: Task) -> Outcome:
        done.append(task.job.id)
        return DONE

    async with rig.working(attempt, at_once=1):
        for job in pushed:
            await rig.until(job, State.DONE)
    assert done == [job.id for job in pushed]


async def test_a_push_wakes_it(rig: Rig) -> None:
    """With nothing to do it sleeps without end; a signal is enough, no time need pass."""
    async with rig.working(succeed):
        await rig.clock.until_asleep(math.inf)
        await rig.until(await rig.push(), State.DONE)
    assert rig.clock.now() == EPOCH


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (StoreUnavailableError("containerd: away"), BACKOFF.first),
        (UpstreamError("503", transient=True), BACKOFF.first),
        (UpstreamError("429", transient=True, retry_after=20), 20.0),
        (UpstreamError("429", transient=True, retry_after=1800), 1800.0),
    ],
    ids=["containerd", "upstream", "Retry-After", "Retry-After beyond the longest back-off"],
)
async def test_a_transient_failure_is_retried_when_it_is_due(rig: Rig, error: Exception, seconds: float) -> None:
    """At the second that `decide` set and not before, with the reason to be read meanwhile."""
    job = await rig.push()
    async with rig.working(failing_with(error)):
        waiting = await rig.until(job, State.PENDING, attempts=1)
        assert (waiting.not_before, waiting.reason) == (EPOCH + seconds, str(error))
        await rig.clock.until_asleep(seconds)
        rig.clock.advance(seconds - 1)
        await rig.clock.until_asleep(1)
        rig.clock.advance(1)
        await rig.until(job, State.DONE, attempts=1)


async def test_delays_grow_with_each_failure(rig: Rig) -> None:
    """Doubling from the first to the longest, and no further."""
    delays = [8.0, 16.0, 32.0, 64.0, 64.0]
    job = await rig.push()
    async with rig.working(failing_with(*(UpstreamError("503", transient=True) for _ in delays))):
        for failures, delay in enumerate(delays, start=1):
            task = await rig.until(job, State.PENDING, attempts=failures)
            assert task.not_before == rig.clock.now() + delay
            await rig.clock.until_asleep(delay)
            rig.clock.advance(delay)
        await rig.until(job, State.DONE, attempts=len(delays))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UpstreamError("401 wrong password", transient=False), "401 wrong password"),
        (ContentMissingError("sha256:0"), "lost: sha256:0"),
        (ZeroDivisionError("a bug"), "internal error: ZeroDivisionError('a bug')"),
    ],
)
async def test_a_permanent_failure_is_parked(rig: Rig, error: Exception, reason: str) -> None:
    """With its reason and its lease, and the worker goes on to the next one."""
    parked, next_one = await rig.push(), await rig.push(push("v2"))
    async with rig.working(failing_with(error), at_once=1):
        assert (await rig.until(parked, State.PARKED, attempts=1)).reason == reason
        await rig.until(next_one, State.DONE)
    assert parked.lease in await rig.leases.list(JOB_LEASES)


async def test_the_lease_ends_when_nothing_needs_it(rig: Rig) -> None:
    """Not with the first of a job's two tasks, but with the last."""
    unpacking, unpacked = await rig.push(push("a")), await rig.push(push("b"))
    for job in (unpacking, unpacked):
        task = await rig.jobs.claim(Kind.UNPACK, EPOCH, 0)
        assert task is not None
        if job == unpacked:
            await rig.jobs.settle(task, Outcome(State.SKIPPED))
    async with rig.working(succeed, at_once=1):
        await rig.until_ended(unpacked.lease)
    assert unpacking.lease in await rig.leases.list(JOB_LEASES)


async def test_a_lease_outlives_a_push_that_is_not_acknowledged(rig: Rig) -> None:
    """A job may be through before the image record of its push is made: until then only its lease holds the image."""
    job = await rig.push()
    unpacking = await rig.jobs.claim(Kind.UNPACK, EPOCH, 0)
    assert unpacking is not None
    await rig.jobs.settle(unpacking, DONE)
    rig.in_flight.add(job.lease)
    async with rig.working(succeed):
        while await rig.jobs.needs_lease(job):
            await rig.clock.until_asleep(math.inf)
        for _ in range(20):  # each is a chance for a worker that does not wait
            assert job.lease in await rig.leases.list(JOB_LEASES)
        rig.in_flight.clear()
        rig.changed.fire()
        await rig.until_ended(job.lease)


async def test_two_pushes_of_one_tag_are_never_side_by_side(rig: Rig) -> None:
    """The later one waits for the earlier, without being asked for, while another tag goes its way."""
    gate = Gate()
    first, second = await rig.push(), await rig.push()
    other = await rig.push(push("v2"))
    async with rig.working(gate.attempt):
        await gate.until_inside(first, other)
        await rig.clock.until_asleep(math.inf)
        assert gate.inside == [first.id, other.id]
        gate.let_one_through()
        await gate.until_inside(other, second)


async def test_no_more_at_once_than_allowed(rig: Rig) -> None:
    """With every slot taken no task is even claimed; a slot that comes free is taken by the next."""
    gate = Gate()
    first, second, third = [await rig.push(push(tag)) for tag in ("a", "b", "c")]
    async with rig.working(gate.attempt, at_once=2):
        await gate.until_inside(first, second)
        assert (await rig.jobs.counts())[Kind.REPLICATE, State.PENDING] == 1
        gate.let_one_through()
        await gate.until_inside(second, third)


async def test_a_clock_set_back_holds_nothing_up(rig: Rig) -> None:
    """A task scheduled by a clock that was years ahead is carried out at the next look."""
    job = await rig.push()
    rig.clock.jump(1e8)
    async with rig.working(failing_with(UpstreamError("503", transient=True))):
        await rig.until(job, State.PENDING, attempts=1)
        await rig.clock.until_asleep(BACKOFF.first)
        rig.clock.jump(-1e8)
        rig.changed.fire()
        await rig.until(job, State.DONE, attempts=1)


async def test_being_stopped_leaves_the_task_as_it_was(rig: Rig) -> None:
    """Cancelled in the middle, it has not failed: it is still running, and pending when the journal is next opened."""
    gate = Gate()
    job = await rig.push()
    async with rig.working(gate.attempt):
        await gate.until_inside(job)
    assert (await rig.until(job, State.RUNNING)).reason == ""


async def test_no_more_for_one_upstream_than_allowed(rig: Rig) -> None:
    """Its next task waits for a place there, while there is one for the tasks of another."""
    gate = Gate()
    first, second = [await rig.push(push(tag)) for tag in ("a", "b")]
    other = await rig.push(push(repository=ELSEWHERE))
    async with rig.working(gate.attempt, upstreams=UpstreamLimits(1, frozenset)):
        await gate.until_inside(first, other)
        await rig.clock.until_asleep(math.inf)
        assert gate.inside == [first.id, other.id]
        gate.let_one_through()
        await gate.until_inside(other, second)


async def test_what_gives_way_takes_no_places(rig: Rig) -> None:
    """A worker is about those that do, or about the others, and neither waits for the other."""
    gate, behind = Gate(), Gate()
    variants = [await rig.push(replace(push(tag), is_variant=True)) for tag in "ab"]
    limits = UpstreamLimits(1, frozenset)
    async with (
        rig.working(gate.attempt, upstreams=limits),
        rig.working(behind.attempt, upstreams=replace(limits, gives_way=True)),
    ):
        await behind.until_inside(variants[0])
        original = await rig.push()
        await gate.until_inside(original)
        gate.let_one_through()
        await rig.until(original, State.DONE)
        assert behind.inside == [variants[0].id]
        behind.let_one_through()
        await behind.until_inside(variants[1])


async def test_an_upstream_that_is_away(rig: Rig) -> None:
    """Its tasks are not even claimed, and nobody waits for their time; once it is back a signal is enough."""
    gate, away = Gate(), {REPOSITORY.registry}
    waiting, other = await rig.push(), await rig.push(push(repository=ELSEWHERE))
    async with rig.working(gate.attempt, upstreams=UpstreamLimits(4, lambda: frozenset(away))):
        await gate.until_inside(other)
        await rig.clock.until_asleep(math.inf)
        assert gate.inside == [other.id]
        away.clear()
        rig.changed.fire()
        await gate.until_inside(other, waiting)


async def test_the_newest_first(rig: Rig) -> None:
    """Where that is wanted; every fourth time it is the oldest, so that none waits for ever."""
    pushed = [(await rig.push(push(tag))).id for tag in "abcdefgh"]
    done: list[int] = []

    async def attempt(task: Task) -> Outcome:
        done.append(task.job.id)
        return DONE

    async with rig.working(attempt, at_once=1, upstreams=UpstreamLimits(1, frozenset, newest_first=True)):
        while len(done) < len(pushed):
            await rig.clock.until_asleep(math.inf)
    a, b, c, d, e, f, g, h = pushed
    assert done == [h, g, f, a, e, d, c, b]
