"""Bytes per second, on a clock that stands still until the test moves it."""

import asyncio

import pytest

from mirror.core.replication.pace import Limits, Pace, Throttle
from mirror.oci.errors import RegistryError
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


def test_each_limit_is_changed_alone() -> None:
    """That of all upstreams together, and that of one; the others stay as they are."""
    limits = Limits(ManualClock(), 1000, {"a": None, "b": 5})
    assert (limits.shared, limits.own) == (1000, {"a": None, "b": 5})
    limits.change(None, None)
    assert (limits.shared, limits.own) == (None, {"a": None, "b": 5})
    limits.change("a", 7)
    assert (limits.shared, limits.own) == (None, {"a": 7, "b": 5})


async def test_a_limit_is_of_its_upstream() -> None:
    """A change of it lets that upstream's streams go on at once, and no others."""
    clock = ManualClock()
    limits = Limits(clock, None, {"a": 1, "b": 1})
    streams = {}
    for name in ("a", "b"):
        await _through(limits.throttle(name), b"1234")
        streams[name] = asyncio.create_task(_through(limits.throttle(name), b"5678"))
    await clock.until_asleep(4.0)
    limits.change("b", None)
    assert await streams["b"] == [4]
    assert not streams["a"].done()
    limits.change("a", None)
    assert await streams["a"] == [4]


async def test_the_shared_limit_is_of_all() -> None:
    """A stream waits for what went to another upstream, until the limit is changed."""
    clock = ManualClock()
    limits = Limits(clock, None, {"a": None, "b": None})
    limits.change(None, 1)
    await _through(limits.throttle("a"), b"1234")
    stream = asyncio.create_task(_through(limits.throttle("b"), b"5678"))
    await clock.until_asleep(4.0)
    limits.change(None, None)
    assert await stream == [4]


@pytest.mark.parametrize("registry", ["", "A", "unknown.example.com", "x" * 10_000])
def test_the_limit_of_a_registry_that_is_not_configured(registry: str) -> None:
    """There is none to change: it is refused, nothing is changed, and the name is not echoed without end."""
    limits = Limits(ManualClock(), 1000, {"a": 5})
    with pytest.raises(RegistryError, match="NAME_UNKNOWN") as refusal:
        limits.change(registry, 1)
    assert len(refusal.value.detail) < 300
    assert (limits.shared, limits.own) == (1000, {"a": 5})
