"""Telling what changes, on a real journal."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import pytest

from mirror.core.follow import Changes, Follow
from mirror.core.jobs import Kind, Outcome, State, Task
from mirror.core.ports import Jobs
from mirror.core.progress import Board
from mirror.core.signal import Signal
from mirror.core.status import Phase, Status
from tests.contract.pushes import REPOSITORY, push
from tests.unit.clock import EPOCH, ManualClock

TAG = push().reference
DONE = Outcome(State.DONE)


@pytest.fixture
def follow(jobs: Jobs, board: Board, clock: ManualClock, changed: Signal) -> Follow:
    return Follow(jobs=jobs, board=board, clock=clock, changed=changed)


class Listener:
    """Somebody who listens, and lets time pass only where that is what is being waited for."""

    def __init__(self, changes: Changes, clock: ManualClock, changed: Signal) -> None:
        self.heard: asyncio.Queue[Status | None] = asyncio.Queue()
        self.listening = asyncio.create_task(self._listen())
        self._changes = changes
        self._clock = clock
        self._changed = changed

    async def _listen(self) -> None:
        async with aclosing(self._changes) as changes:
            async for status in changes:
                self.heard.put_nowait(status)

    async def end(self) -> None:
        """The stream ends, with nothing more to hear."""
        async with asyncio.timeout(60):
            await self.listening
        assert self.heard.empty()

    async def hear(self) -> Status:
        """The next thing told, which must be a status."""
        status = await self.heard.get()
        assert status is not None
        return status

    async def rest(self, seconds: float) -> None:
        """Let the pause between two looks pass, after which it listens for so many seconds."""
        await self._clock.until_asleep(0.2)
        self._clock.advance(0.2)
        await self._clock.until_asleep(seconds)

    async def after(self, change: Awaitable[object]) -> Status:
        """What is told about a change."""
        await self.rest(15)
        await change
        self._changed.fire()
        return await self.hear()


Listen = Callable[[Changes], Awaitable[Listener]]


@pytest.fixture
async def listen(clock: ManualClock, changed: Signal) -> AsyncIterator[Listen]:
    """Start to listen; whoever still does at the end of the test is stopped."""
    running: list[Listener] = []

    async def start(changes: Changes) -> Listener:
        running.append(Listener(changes, clock, changed))
        return running[-1]

    yield start
    changed.close()
    async with asyncio.timeout(60):
        await asyncio.gather(*(listener.listening for listener in running))


async def claim(jobs: Jobs, kind: Kind = Kind.REPLICATE) -> Task:
    """Claim the oldest due task of a kind."""
    task = await jobs.claim(kind, EPOCH, 3600)
    assert task is not None
    return task


async def settle(jobs: Jobs, outcome: Outcome, kind: Kind = Kind.REPLICATE) -> None:
    """Carry out the oldest due task of a kind."""
    await jobs.settle(await claim(jobs, kind), outcome)


async def test_an_image_from_the_push_to_the_upstream(follow: Follow, jobs: Jobs, listen: Listen) -> None:
    """Each phase is told once, with why it waits; the stream ends when nothing more will change."""
    await jobs.enqueue(push())
    listener = await listen(follow.image(REPOSITORY, TAG))
    assert (await listener.hear()).phase is Phase.LOCAL
    assert (await listener.after(settle(jobs, DONE, Kind.UNPACK))).phase is Phase.UNPACKED
    waiting = await listener.after(settle(jobs, Outcome(State.PENDING, "503", EPOCH)))
    assert (waiting.phase, waiting.next_try, waiting.task.reason) == (Phase.REPLICATING, EPOCH, "503")
    task = await claim(jobs)
    last = await listener.after(jobs.settle(task, DONE))
    assert (last.phase, last.is_final) == (Phase.REPLICATED, True)
    await listener.end()


async def test_it_is_not_over_while_it_is_being_unpacked(follow: Follow, jobs: Jobs, listen: Listen) -> None:
    """An image that is upstream first is followed until it can run here too."""
    await jobs.enqueue(push())
    await settle(jobs, DONE)
    listener = await listen(follow.image(REPOSITORY, TAG))
    assert not (await listener.hear()).is_final
    assert (await listener.after(settle(jobs, Outcome(State.SKIPPED), Kind.UNPACK))).is_final


async def test_progress(follow: Follow, jobs: Jobs, board: Board, clock: ManualClock, listen: Listen) -> None:
    """Bytes have no signal: they are looked at once a second, and told when there are more of them."""
    job = await jobs.enqueue(push())
    await claim(jobs)
    with board.entry(job.id, Kind.REPLICATE) as progress:
        progress.of = 100
        listener = await listen(follow.image(REPOSITORY, TAG))
        assert (await listener.hear()).done == 0
        for done in (40, 90):
            await listener.rest(1)
            clock.advance(1)
            await listener.rest(1)
            assert listener.heard.empty()
            progress.done = done
            clock.advance(1)
            status = await listener.hear()
            assert (status.done, status.of) == (done, 100)


async def test_a_sign_of_life(follow: Follow, jobs: Jobs, clock: ManualClock, listen: Listen) -> None:
    """When nothing changes for fifteen seconds, that is told, and again after the next fifteen."""
    await jobs.enqueue(push())
    listener = await listen(follow.image(REPOSITORY, TAG))
    await listener.hear()
    for _ in range(2):
        await listener.rest(15)
        assert listener.heard.empty()
        clock.advance(15)
        assert await listener.heard.get() is None


async def test_a_storm_of_signals_is_one_look(
    follow: Follow, jobs: Jobs, clock: ManualClock, changed: Signal, listen: Listen
) -> None:
    """What changes several times between two looks is told once, as it is in the end."""
    await jobs.enqueue(push())
    listener = await listen(follow.image(REPOSITORY, TAG))
    await listener.hear()
    await clock.until_asleep(0.2)
    for _ in range(3):
        await settle(jobs, Outcome(State.PENDING, "503", EPOCH))
        changed.fire()
    assert listener.heard.empty()
    clock.advance(0.2)
    assert (await listener.hear()).task.attempts == 3


async def test_the_end_of_the_daemon(follow: Follow, jobs: Jobs, changed: Signal, listen: Listen) -> None:
    """A stream ends at once, in the pause between two looks and out of it, whatever it is waiting for."""
    await jobs.enqueue(push())
    resting, listening = [await listen(follow.image(REPOSITORY, TAG)) for _ in range(2)]
    await resting.hear()
    await listening.hear()
    await listening.rest(15)
    changed.close()
    for listener in (resting, listening):
        await listener.end()


async def test_what_nobody_pushed(follow: Follow) -> None:
    """There is nothing to follow."""
    assert [status async for status in follow.image(REPOSITORY, TAG)] == []


async def test_everything(follow: Follow, jobs: Jobs, listen: Listen) -> None:
    """What was there before is no news; what changes is, also of a job that comes and goes between two looks."""
    old = await jobs.enqueue(push("old"))
    listener = await listen(await follow.everything())
    news = await listener.after(settle(jobs, Outcome(State.PARKED, "401")))
    assert (news.job, news.phase) == (old, Phase.PARKED)
    await listener.after(settle(jobs, DONE, Kind.UNPACK))

    async def come_and_go() -> None:
        await jobs.enqueue(push("new"))
        await settle(jobs, DONE)
        await settle(jobs, DONE, Kind.UNPACK)

    news = await listener.after(come_and_go())
    assert (news.job.reference.tag, news.is_final) == ("new", True)


async def test_a_job_that_ends_is_told_of(follow: Follow, jobs: Jobs, listen: Listen) -> None:
    """The last change takes a job out of those that are not over; it is told all the same, and once."""
    await jobs.enqueue(push())
    await settle(jobs, DONE, Kind.UNPACK)
    listener = await listen(await follow.everything())
    assert (await listener.after(settle(jobs, DONE))).is_final
    other = (await listener.after(jobs.enqueue(push("v2")))).job
    assert other.reference.tag == "v2"
