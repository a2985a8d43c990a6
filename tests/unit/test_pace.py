"""Bytes per second, on a clock that stands still until the test moves it."""

import asyncio

import pytest

from mirror.core.replication.pace import Pace, Throttle
from tests.unit.clock import ManualClock


async def _through(throttle: Throttle, data: bytes) -> list[int]:
    return [len(piece) async for piece in throttle.let_through(data)]


async def test_without_a_limit_nothing_waits() -> None:
    """And nothing is cut."""
    clock = ManualClock()
    throttle = Throttle(Pace(clock, None), Pace(clock, None))
    assert await _through(throttle, bytes(1 << 20)) == [1 << 20]
    assert await _through(throttle, b"") == []


async def test_the_limit_holds() -> None:
    """A second's worth of bytes passes in each second, the first at once."""
    clock = ManualClock()
    pace = Pace(clock, 1000)
    await pace.spend(500)
    waits = asyncio.create_task(pace.spend(1000))
    await clock.until_asleep(0.5)
    clock.advance(0.5)
    await waits
    last = asyncio.create_task(pace.spend(1))
    await clock.until_asleep(1.0)
    assert not last.done()
    clock.advance(1.0)
    await last


async def test_time_that_nobody_used_is_gone() -> None:
    """After a pause the pace is what it was, with no rush to make up for it."""
    clock = ManualClock()
    pace = Pace(clock, 1000)
    await pace.spend(1000)
    clock.advance(100)
    await pace.spend(1000)
    waits = asyncio.create_task(pace.spend(1000))
    await clock.until_asleep(1.0)
    clock.advance(1.0)
    await waits


async def test_streams_share_a_pace() -> None:
    """Each waits for those who came before it."""
    clock = ManualClock()
    pace = Pace(clock, 1000)
    streams = [asyncio.create_task(pace.spend(1000)) for _ in range(3)]
    await clock.until_asleep(1.0)
    await clock.until_asleep(2.0)
    clock.advance(1.0)
    await streams[1]
    assert not streams[2].done()
    clock.advance(1.0)
    await streams[2]


@pytest.mark.parametrize("rate", [None, 10**9])
async def test_a_change_counts_at_once(rate: int | None) -> None:
    """Who waits for the old pace goes on at the new one."""
    clock = ManualClock()
    pace = Pace(clock, 1)
    await pace.spend(3600)
    waits = asyncio.create_task(pace.spend(1))
    await clock.until_asleep(3600)
    pace.change(rate)
    await waits
    assert pace.rate == rate


async def test_the_slower_of_two_paces_holds() -> None:
    """That of all upstreams together and that of one: a stream keeps to both, in pieces of a quarter of a second."""
    clock = ManualClock()
    throttle = Throttle(Pace(clock, 400_000), Pace(clock, 10**9))
    stream = asyncio.create_task(_through(throttle, bytes(250_000)))
    for _ in range(2):
        await clock.until_asleep(0.25)
        clock.advance(0.25)
    assert await stream == [100_000, 100_000, 50_000]
