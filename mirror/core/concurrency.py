"""Doing several things at once, with a limit, as if they were one; and one thing at a time where it must be."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


async def run_all(actions: Iterable[Coroutine[None, None, None]], at_once: int) -> None:
    """Run every action in order, at most `at_once` together; after a failure none is started any more.

    Those that run already come to their end, as what they have done is worth keeping; then the first failure is
    raised as it is.
    """
    slots = asyncio.Semaphore(at_once)
    failures: list[Exception] = []

    async def within_limit(action: Coroutine[None, None, None]) -> None:
        async with slots:
            if failures:
                return
            try:
                await action
            except Exception as error:  # noqa: BLE001 - it is raised below, whatever it is
                failures.append(error)

    pending = list(actions)
    try:
        async with asyncio.TaskGroup() as group:
            for action in pending:
                group.create_task(within_limit(action))
    finally:
        for action in pending:
            action.close()  # those whose turn never came
    if failures:
        raise failures[0]


async def first_of(*actions: Coroutine[None, None, _Result]) -> _Result:
    """What the first action to end returns, or raises; the others are cancelled, and have ended by then."""
    first: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()

    async def run(action: Coroutine[None, None, _Result]) -> None:
        try:
            result = await action
        except Exception as error:  # noqa: BLE001 - it is raised below, whatever it is
            if not first.done():
                first.set_exception(error)
        else:
            if not first.done():
                first.set_result(result)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run(action)) for action in actions]
        await asyncio.wait([first])
        for task in tasks:
            task.cancel()
    return first.result()


async def in_order(
    work: Callable[[_Item], Awaitable[_Result]], items: Sequence[_Item], at_once: int
) -> AsyncIterator[_Result]:
    """The results for all items, in their order, worked out `at_once` together; a failure is raised as by `run_all`."""
    results: dict[int, _Result] = {}

    async def note(index: int) -> None:
        results[index] = await work(items[index])

    for start in range(0, len(items), at_once):
        group = range(start, min(start + at_once, len(items)))
        await run_all(map(note, group), at_once)
        for index in group:
            yield results.pop(index)


class Locks:
    """A lock for every key, which exists for as long as somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def alone(self, key: str) -> AsyncIterator[None]:
        """Be the only one with this key."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        async with lock:
            yield


class Together(Generic[_Result]):
    """Work that several want at the same time is done once for all of them, and ends in the same way for all."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Future[_Result]] = {}

    async def do(self, key: str, work: Callable[[], Awaitable[_Result]]) -> _Result:
        """Do the work, or wait for whoever is at the same already; if he is cancelled, the next one begins anew."""
        while under_way := self._under_way.get(key):
            await asyncio.wait([under_way])
            if not under_way.cancelled():
                return under_way.result()
        future = self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            result = await work()
        except Exception as error:
            future.set_exception(error)
            future.exception()  # or asyncio complains where nobody else waits
            raise
        except BaseException:
            future.cancel()
            raise
        finally:
            del self._under_way[key]
        future.set_result(result)
        return result


class SharedLock:
    """A readers-writer lock: many share it, or one has it alone. Who wants it alone waits for no newcomers."""

    def __init__(self) -> None:
        self._sharing = 0
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._door = asyncio.Lock()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Be one of many."""
        async with self._door:
            self._sharing += 1
            self._nobody.clear()
        try:
            yield
        finally:
            self._sharing -= 1
            if not self._sharing:
                self._nobody.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Be the only one."""
        async with self._door:
            await self._nobody.wait()
            yield
