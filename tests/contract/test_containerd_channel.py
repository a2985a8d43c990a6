"""The connection to a real containerd, and to none."""

import asyncio
import secrets
import time
from pathlib import Path

import pytest

from mirror.containerd.channel import Channel, SnapshotterError
from mirror.core.errors import StoreUnavailableError
from mirror.core.ports import StoreFacts
from tests.rig.containerd import Containerd


async def test_probe(containerd: Containerd) -> None:
    """It says what containerd is, and makes the namespace; the second time that is no error."""
    namespace = f"probe-{secrets.token_hex(4)}"
    channel = Channel(Path(containerd.address), namespace)
    facts = await channel.probe(Containerd.snapshotter)
    assert facts.version in containerd.ctr("version")
    root = containerd.directory / "root"
    assert facts.content == root / "io.containerd.content.v1.content"
    assert facts.snapshots == root / "io.containerd.snapshotter.v1.overlayfs"
    assert await channel.probe(Containerd.snapshotter) == facts
    assert namespace in containerd.ctr("namespaces", "ls", "--quiet").split()
    await channel.close()


@pytest.mark.parametrize(("wanted", "reason"), [("imaginary", "does not exist"), ("devmapper", "failed to start")])
async def test_a_snapshotter_that_cannot_be_used(channel: Channel, wanted: str, reason: str) -> None:
    """The error names the one that is configured, what is wrong with it, and those that would do."""
    with pytest.raises(SnapshotterError, match=rf"{wanted}.*{reason}.*overlayfs") as refusal:
        await channel.probe(wanted)
    assert "\n" not in str(refusal.value)


async def test_no_socket(directory: Path) -> None:
    """Where nothing listens a call fails at once."""
    channel = Channel(directory / "nothing.sock", "default")
    started = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="UNAVAILABLE"):
        await channel.probe("overlayfs")
    assert time.monotonic() - started < 1
    await channel.close()


async def test_a_hanging_containerd(containerd: Containerd) -> None:
    """A call ends at its deadline, and the channel works again when containerd does."""
    channel = Channel(Path(containerd.address), "default", deadline=0.3)
    await channel.probe("overlayfs")
    containerd.pause()
    try:
        with pytest.raises(StoreUnavailableError, match="DEADLINE_EXCEEDED"):
            await channel.probe("overlayfs")
    finally:
        containerd.resume()
    assert await _probe_until_it_works(channel)
    await channel.close()


async def test_a_restarted_containerd(containerd: Containerd, channel: Channel) -> None:
    """The channel finds a containerd again that was killed and started."""
    facts = await channel.probe("overlayfs")
    containerd.kill()
    with pytest.raises(StoreUnavailableError):
        await channel.probe("overlayfs")
    containerd.start()
    assert await _probe_until_it_works(channel) == facts


async def _probe_until_it_works(channel: Channel) -> StoreFacts:
    async with asyncio.timeout(10):
        while True:
            try:
                return await channel.probe("overlayfs")
            except StoreUnavailableError:
                await asyncio.sleep(0.02)
