"""Who may transfer a blob next."""

import asyncio
import random

import pytest

from mirror.core.replication.turns import SMALL, Turns, Wish
from mirror.oci.names import Repository

MIB = 1 << 20
APP = Repository("registry.example.com", "team/app")
OTHER = Repository("registry.example.com", "team/other")


class Line:
    """Wishes that are waiting for their turns, and the order in which they got them."""

    def __init__(self, at_once: int) -> None:
        self.turns = Turns(at_once)
        self.order: list[str] = []
        self._leave: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def enter(
        self, name: str, size: int, since: float = 0, repository: Repository = APP, *, gives_way: bool = False
    ) -> Wish:
        """Wait for a turn in the background."""
        self._leave[name] = asyncio.Event()
        wish = Wish(repository, size, since, gives_way)
        self._tasks[name] = asyncio.create_task(self._hold(name, wish))
        await settle()
        return wish

    async def _hold(self, name: str, wish: Wish) -> None:
        async with self.turns.turn(wish):
            self.order.append(name)
            await self._leave[name].wait()

    async def leave(self, name: str) -> None:
        """End a turn."""
        self._leave[name].set()
        await self._tasks[name]
        await settle()

    async def cancel(self, name: str) -> None:
        """Give up waiting, or give up the turn."""
        self._tasks[name].cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._tasks[name]
        await settle()

    async def drain(self) -> None:
        """Let everybody finish, in the order in which they got their turns."""
        done = 0
        while done < len(self.order):
            await self.leave(self.order[done])
            done += 1


async def settle() -> None:
    """Let the loop run until everybody who could move has moved."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_no_more_than_allowed() -> None:
    """The next one starts when one has ended."""
    line = Line(2)
    for name in "abc":
        await line.enter(name, 1)
    assert line.order == ["a", "b"]
    await line.leave("a")
    assert line.order == ["a", "b", "c"]


async def test_small_ones_then_the_newest() -> None:
    """Those that are over soon come first; of the others the newest deploy, and in it the smallest."""
    line = Line(1)
    await line.enter("runs", 1)
    await line.enter("old", 2 * MIB, since=1)
    await line.enter("new and larger", 4 * MIB, since=2)
    await line.enter("new", 3 * MIB, since=2)
    await line.enter("old and small", SMALL, since=1)
    await line.drain()
    assert line.order == ["runs", "old and small", "new", "new and larger", "old"]


async def test_a_large_one_never_takes_the_last_place() -> None:
    """However many large ones wait, a small one that comes later starts at once."""
    line = Line(3)
    for name in "abcd":
        await line.enter(name, 100 * MIB)
    assert line.order == ["a", "b"]
    await line.enter("small", 100)
    assert line.order == ["a", "b", "small"]
    await line.leave("small")
    assert line.order == ["a", "b", "small"]
    await line.leave("a")
    assert line.order == ["a", "b", "small", "c"]


async def test_a_single_place_is_for_large_ones_too() -> None:
    """Else they would wait for ever."""
    line = Line(1)
    await line.enter("large", 100 * MIB)
    assert line.order == ["large"]


async def test_each_repository_has_its_share() -> None:
    """One with much to send does not hold up another with little, whatever is newer."""
    line = Line(2)
    for name in "abcd":
        await line.enter(name, 2 * MIB, since=9)
    await line.enter("other", 2 * MIB, since=1, repository=OTHER)
    await line.leave("a")
    assert line.order == ["a", "b", "other"]
    await line.leave("b")
    assert line.order == ["a", "b", "other", "c"]


async def test_what_gives_way_comes_last() -> None:
    """One at a time, in the order in which they came, and only when nobody else is there."""
    line = Line(2)
    for name in ("first variant", "second variant"):
        await line.enter(name, 1, gives_way=True)
    await line.enter("original", 100 * MIB)
    await line.leave("first variant")
    assert line.order == ["first variant", "original"]
    await line.leave("original")
    assert line.order == ["first variant", "original", "second variant"]


async def test_what_gives_way_takes_nobodys_place() -> None:
    """Not even the one that large ones have."""
    line = Line(2)
    await line.enter("variant", 100 * MIB, gives_way=True)
    for name in ("large", "small"):
        await line.enter(name, 100 * MIB if name == "large" else 1)
    assert line.order == ["variant", "large", "small"]


async def test_what_need_not_give_way_any_more() -> None:
    """It begins at once, if there is a place."""
    line = Line(2)
    await line.enter("original", 100 * MIB)
    wish = await line.enter("variant", 1, gives_way=True)
    wish.gives_way = False
    line.turns.grant()
    await settle()
    assert line.order == ["original", "variant"]


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_gives_up_leaves_no_hole(seed: int) -> None:
    """Waiting or having their turn: all others still get theirs, and never too many at once."""
    chance = random.Random(seed)  # noqa: S311 - the same in each run
    line = Line(3)
    names = [str(number) for number in range(30)]
    for name in names:
        size, gives_way = chance.choice([1, 5 * MIB, 50 * MIB]), chance.random() < 0.2
        await line.enter(name, size, chance.random(), gives_way=gives_way)
    for name in chance.sample(names, 15):
        await line.cancel(name)
        assert sum(not wish.gives_way for wish in line.turns._running) <= 3
        assert sum(wish.gives_way for wish in line.turns._running) <= 1
    left = [name for name in names if not line._tasks[name].done()]
    while left:
        running = next(name for name in left if name in line.order)
        await line.leave(running)
        left.remove(running)
    assert not line.turns._running
    assert not line.turns._waiting
