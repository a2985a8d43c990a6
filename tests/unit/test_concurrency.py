"""Several things at once, as if they were one."""

import asyncio
import gc

import pytest

from mirror.core.concurrency import Locks, SharedLock, Together, first_of, in_order, run_all


class Gauge:
    """Counts how many are inside, and remembers the most."""

    def __init__(self) -> None:
        self.inside = self.most = self.finished = 0

    async def visit(self) -> None:
        """Be inside for a few turns of the loop."""
        self.inside += 1
        self.most = max(self.most, self.inside)
        for _ in range(3):
            await asyncio.sleep(0)
        self.inside -= 1
        self.finished += 1


@pytest.mark.parametrize(("actions", "at_once", "most"), [(0, 1, 0), (1, 4, 1), (10, 1, 1), (10, 3, 3), (3, 10, 3)])
async def test_all_are_run_and_never_too_many_at_once(actions: int, at_once: int, most: int) -> None:
    """Every action ends, and the limit is reached but not exceeded."""
    gauge = Gauge()
    await run_all((gauge.visit() for _ in range(actions)), at_once)
    assert (gauge.finished, gauge.inside, gauge.most) == (actions, 0, most)


async def _fail(error: Exception) -> None:
    raise error


async def test_the_first_failure_is_raised_as_it_is() -> None:
    """The very exception, in no group and with no other as its cause."""
    error = ValueError("first")
    with pytest.raises(ValueError, match="first") as raised:
        await run_all([_fail(error), _fail(KeyError("second"))], 1)
    assert raised.value is error


async def test_a_failure_lets_the_others_finish() -> None:
    """Who runs comes to its end, who waits for a slot never starts, and no coroutine is left un-awaited."""
    gauge = Gauge()
    actions = [gauge.visit(), _fail(ValueError("enough")), gauge.visit(), gauge.visit()]
    with pytest.raises(ValueError, match="enough"):
        await run_all(actions, 2)
    gc.collect()  # a coroutine that was forgotten warns now, and warnings are errors
    assert (gauge.finished, gauge.inside) == (1, 0)


async def _give(value: str, turns: int = 0) -> str:
    for _ in range(turns):
        await asyncio.sleep(0)
    return value


async def test_the_first_to_end_counts() -> None:
    """The others are cancelled, and have ended: those too that take their time for it."""
    ended: list[str] = []

    async def slowly() -> str:
        try:
            return await _give("never", 1_000_000)
        finally:
            await asyncio.sleep(0)
            ended.append("slowly")

    assert await first_of(slowly(), _give("first", 2), _give("second", 3)) == "first"
    assert ended == ["slowly"]


async def test_the_first_may_fail() -> None:
    """It is raised as it is; so is nothing that comes after the first."""

    async def fail() -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await first_of(_give("never", 1_000_000), fail())
    assert await first_of(_give("both"), fail()) == "both"


async def test_whoever_waits_for_the_first_is_cancelled() -> None:
    """Then all of them are."""
    ended = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await first_of(forever(), forever())
    assert ended.is_set()


@pytest.mark.parametrize(("items", "at_once", "most"), [(0, 1, 0), (1, 4, 1), (10, 1, 1), (10, 3, 3), (3, 10, 3)])
async def test_results_come_in_order(items: int, at_once: int, most: int) -> None:
    """Whoever is done first, and never too many at once."""
    gauge = Gauge()

    async def work(number: int) -> int:
        for _ in range(items - number):
            await asyncio.sleep(0)
        await gauge.visit()
        return -number

    assert [result async for result in in_order(work, range(items), at_once)] == [-number for number in range(items)]
    assert (gauge.finished, gauge.most) == (items, most)


async def test_no_results_after_a_failure() -> None:
    """Those before it have been given, nothing after it is begun."""
    begun: list[int] = []

    async def work(number: int) -> int:
        begun.append(number)
        if number == 3:
            raise ValueError("enough")
        return number

    results = in_order(work, range(10), 2)
    assert [await anext(results), await anext(results)] == [0, 1]
    with pytest.raises(ValueError, match="enough"):
        await anext(results)
    assert begun == [0, 1, 2, 3]


async def test_being_cancelled_cancels_all() -> None:
    """A cancellation from outside reaches every action and passes through as itself."""
    inside = asyncio.Event()
    left: list[bool] = []

    async def forever() -> None:
        inside.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.append(True)

    task = asyncio.create_task(run_all([forever(), forever()], 1))
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gc.collect()
    assert left == [True]


async def test_a_key_is_locked_and_no_other() -> None:
    """Who wants the same key waits; another key is free; the last to leave takes the lock away."""
    locks, gauge = Locks(), Gauge()

    async def visit(key: str) -> None:
        async with locks.alone(key):
            await gauge.visit()

    await asyncio.gather(*(visit("same") for _ in range(3)))
    assert gauge.most == 1
    await asyncio.gather(*(visit(key) for key in "abc"))
    assert gauge.most == 3
    assert not locks._locks


async def test_a_lock_survives_a_failure_inside() -> None:
    """The next one gets in."""
    locks = Locks()
    with pytest.raises(KeyError):
        async with locks.alone("key"):
            await _fail(KeyError())
    async with locks.alone("key"):
        pass


async def test_who_is_alone_shares_with_nobody() -> None:
    """It waits for those who share, lets no newcomer in before it, and then they go on together."""
    lock, steps = SharedLock(), list[str]()

    async def share(name: str, until: asyncio.Event) -> None:
        async with lock.shared():
            steps.append(name)
            await until.wait()

    async def be_alone() -> None:
        async with lock.alone():
            steps.append("alone")
            await asyncio.sleep(0)
            steps.append("over")

    first, second = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(share("a", first))
        group.create_task(share("b", first))
        await asyncio.sleep(0)
        group.create_task(be_alone())
        await asyncio.sleep(0)
        group.create_task(share("c", second))
        group.create_task(share("d", second))
        await asyncio.sleep(0)
        assert steps == ["a", "b"]
        first.set()
        second.set()
    assert steps == ["a", "b", "alone", "over", "c", "d"]


class Question:
    """Is asked, counts how often, and answers when it is told what."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def ask(self) -> str:
        """The answer."""
        self.asked += 1
        return await asyncio.shield(self.answer)


async def _asking(together: Together[str], question: Question, key: str = "key") -> asyncio.Task[str]:
    asking = asyncio.ensure_future(together.do(key, question.ask))
    await asyncio.sleep(0)
    return asking


async def test_what_is_done_together_is_done_once() -> None:
    """All who ask meanwhile get the one answer, and whoever comes later another; another key is another matter."""
    together, question = Together[str](), Question()
    asking = [await _asking(together, question) for _ in range(3)]
    other = await _asking(together, question, "other")
    assert question.asked == 2
    question.answer.set_result("answer")
    assert await asyncio.gather(*asking, other) == ["answer"] * 4
    assert await together.do("key", question.ask) == "answer"
    assert question.asked == 3


async def test_what_fails_together() -> None:
    """All hear why, and nobody tries it again by himself."""
    together, question = Together[str](), Question()
    asking = [await _asking(together, question) for _ in range(3)]
    question.answer.set_exception(ValueError("no"))
    ended = await asyncio.gather(*asking, return_exceptions=True)
    assert [str(error) for error in ended] == ["no"] * 3
    assert question.asked == 1


async def test_who_was_at_it_leaves() -> None:
    """The next one begins anew, for all who are left; whoever only waits may leave, too."""
    together, question = Together[str](), Question()
    first, second, third, fourth = [await _asking(together, question) for _ in range(4)]
    for leaving in (first, third):
        leaving.cancel()
    await asyncio.wait([first, third])
    question.answer.set_result("answer")
    assert [await second, await fourth] == ["answer"] * 2
    assert question.asked == 2
