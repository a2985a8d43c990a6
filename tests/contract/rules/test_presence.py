"""Watching over a real containerd that is killed, hangs, moves and comes back."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import structlog

from mirror.containerd.channel import Channel
from mirror.containerd.probe import Probe
from mirror.core.ports import StoreFacts
from mirror.core.presence import Presence
from tests.rig.containerd import Containerd
from tests.unit.clock import ManualClock


class Rig:
    """What is told of a containerd, while time passes a second at a time."""

    def __init__(self, channel: Channel, snapshotter: str, clock: ManualClock) -> None:
        self.told: list[str] = []
        self.found = list[StoreFacts]()
        self.clock = clock
        self.asks_for_more = False
        self.presence = Presence(
            Probe(channel, snapshotter),
            clock,
            found=self._find,
            lost=lambda _: self.told.append("lost"),
            back=self._back,
        )

    async def _find(self, facts: StoreFacts) -> None:
        self.found.append(facts)
        if self.asks_for_more:
            await asyncio.Event().wait()  # and is not answered

    async def _back(self) -> None:
        self.told.append("back")

    async def looks(self) -> None:
        """Let it look once more."""
        self.clock.advance(1.0)
        await self.clock.until_asleep(1.0)

    async def looks_until_back(self) -> None:
        """Let it look until containerd has come back."""
        async with asyncio.timeout(60):
            while self.presence.reason:
                await self.looks()


@pytest_asyncio.fixture
async def rig(request: pytest.FixtureRequest, channel: Channel, clock: ManualClock) -> AsyncIterator[Rig]:
    """A rig that has looked once; the snapshotter may be another one."""
    rig = Rig(channel, getattr(request, "param", Containerd.snapshotter), clock)
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(rig.presence.watch())
        await clock.until_asleep(1.0)
        yield rig
        watching.cancel()


async def test_all_is_well(rig: Rig, containerd: Containerd) -> None:
    """Nobody is told anything, and what containerd is is known."""
    await rig.looks()
    assert rig.told == []
    assert rig.presence.reason is None
    assert rig.presence.facts
    assert rig.found == [rig.presence.facts]
    assert rig.presence.facts.content == containerd.directory / "root/io.containerd.content.v1.content"


async def test_killed_and_started(rig: Rig, containerd: Containerd) -> None:
    """It is lost at the next look, with containerd's own reason, and back once."""
    containerd.kill()
    await rig.looks()
    assert set(rig.told) == {"lost"}
    assert "UNAVAILABLE" in str(rig.presence.reason)
    containerd.start()
    await rig.looks_until_back()
    await rig.looks()
    assert rig.told.count("back") == 1
    assert rig.told[-1] == "back"


async def test_one_that_hangs(rig: Rig, containerd: Containerd) -> None:
    """It is lost when it does not answer in time."""
    containerd.pause()
    try:
        await rig.looks()
        assert rig.told == ["lost"]
    finally:
        containerd.resume()
    await rig.looks_until_back()


async def test_one_that_hangs_as_soon_as_it_is_found(rig: Rig, containerd: Containerd) -> None:
    """It is lost although whoever was told of it still waits for it; they are told again when it is back."""
    containerd.kill()
    await rig.looks()
    rig.asks_for_more = True
    containerd.start()
    rig.clock.advance(1.0)
    async with asyncio.timeout(60):
        while len(rig.found) == 1:
            await asyncio.sleep(0.05)  # it looks in real time now, as long as it takes
            rig.clock.advance(1.0)
        containerd.pause()
        try:
            await rig.clock.until_asleep(1.0)
        finally:
            containerd.resume()
    assert rig.told[-1] == "lost"
    assert "DEADLINE_EXCEEDED" in str(rig.presence.reason)
    rig.asks_for_more = False
    await rig.looks_until_back()
    assert len(rig.found) == 3


@pytest.mark.parametrize("rig", ["imaginary"], indirect=True)
async def test_one_that_cannot_be_used(rig: Rig) -> None:
    """The reason says what it lacks, and the log says so once."""
    with structlog.testing.capture_logs() as log:
        for _ in range(3):
            await rig.looks()
    assert log == []
    assert "'imaginary' does not exist" in str(rig.presence.reason)


async def test_another_one_at_the_same_place(rig: Rig, containerd: Containerd) -> None:
    """One that keeps its content elsewhere is taken, and the log says that what was here is not there."""
    containerd.stop()
    await rig.looks()
    with (
        Containerd(containerd.directory / "another", containerd.address) as another,
        structlog.testing.capture_logs() as log,
    ):
        await rig.looks_until_back()
    containerd.start()
    stores = [host.directory / "root/io.containerd.content.v1.content" for host in (containerd, another)]
    assert [facts.content for facts in rig.found] == stores
    assert [line["event"] for line in log if line["log_level"] == "error"] == ["containerd.moved"]
