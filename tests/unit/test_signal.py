"""The wake-up call."""

import asyncio

from mirror.core.signal import Signal


async def test_everyone_who_waits_wakes() -> None:
    """One fire is enough for all."""
    signal = Signal()
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(signal.arm().wait())
        await asyncio.sleep(0)
        signal.fire()


async def test_a_change_between_looking_and_waiting_is_not_missed() -> None:
    """Armed before the look, the event is set by a fire that comes before the wait."""
    signal = Signal()
    event = signal.arm()
    signal.fire()
    await event.wait()


def test_a_change_counts_once() -> None:
    """Who arms after a fire waits for the next one."""
    signal = Signal()
    signal.fire()
    event = signal.arm()
    assert not event.is_set()
    signal.fire()
    assert event.is_set()
