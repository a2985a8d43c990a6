"""The manual clock keeps the promises of the `Clock` port, and so does the real one."""

import asyncio

import pytest

from mirror.core.ports import Clock
from mirror.runtime.clock import SystemClock
from tests.unit.clock import EPOCH, ManualClock


@pytest.mark.parametrize("clock", [ManualClock(), SystemClock()], ids=["manual", "system"])
@pytest.mark.parametrize("seconds", [None, 3600.0])
async def test_an_event_ends_a_wait(clock: Clock, seconds: float | None) -> None:
    """Whatever the limit, an event that is set ends the wait."""
    event = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(clock.wait(event, seconds))
        event.set()


async def test_no_time_at_all() -> None:
    """A real wait of zero seconds returns without its event, and a real sleep ends."""
    clock = SystemClock()
    await clock.wait(asyncio.Event(), 0)
    await clock.sleep(0)


def test_real_time_moves_on() -> None:
    """Unix time is past the year 2023, and monotonic time never runs backwards."""
    clock = SystemClock()
    assert clock.now() > EPOCH
    assert clock.monotonic() <= clock.monotonic()


async def test_a_sleeper_wakes_at_its_time_and_not_before() -> None:
    """Time that falls short wakes nobody; the last bit of it does."""
    clock = ManualClock()
    sleeper = asyncio.create_task(clock.sleep(10))
    await clock.until_asleep(10)
    clock.advance(9)
    await clock.until_asleep(1)
    assert not sleeper.done()
    clock.advance(1)
    await sleeper
    assert (clock.now(), clock.monotonic()) == (EPOCH + 10, 10)


async def test_a_jump_wakes_nobody() -> None:
    """Setting Unix time changes no duration."""
    clock = ManualClock()
    sleeper = asyncio.create_task(clock.sleep(10))
    await clock.until_asleep(10)
    clock.jump(-3600)
    await clock.until_asleep(10)
    clock.advance(10)
    await sleeper
    assert clock.now() == EPOCH - 3590
