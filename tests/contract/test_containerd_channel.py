"""The connection to a real containerd, and to none."""

import asyncio
import secrets
from pathlib import Path

import pytest

from mirror.containerd.channel import Channel
from mirror.containerd.ingest import Patience
from mirror.containerd.probe import Probe, check_version
from mirror.core.errors import StoreUnavailableError
from mirror.core.ports import Content, StoreFacts
from tests.contract.rooms import streamed
from tests.contract.store import fresh, fresh_ref, store
from tests.rig.containerd import Containerd


async def test_probe(containerd: Containerd) -> None:
    """It says what containerd is, and makes the namespace; the second time that is no error."""
    namespace = f"probe-{secrets.token_hex(4)}"
    channel = Channel(Path(containerd.address), namespace)
    probe = Probe(channel, Containerd.snapshotter)
    facts = await probe.ask()
    assert facts.version in containerd.ctr("version")
    root = containerd.directory / "root"
    assert facts.content == root / "io.containerd.content.v1.content"
    assert facts.snapshots == root / "io.containerd.snapshotter.v1.overlayfs"
    for _ in range(2):
        await probe.prepare()
    assert namespace in containerd.ctr("namespaces", "ls", "--quiet").split()
    await channel.close()


async def test_a_namespace_that_cannot_be(containerd: Containerd) -> None:
    """The error says in one line which name containerd does not take."""
    channel = Channel(Path(containerd.address), "no_name_")
    with pytest.raises(StoreUnavailableError, match="no_name_") as refusal:
        await Probe(channel, Containerd.snapshotter).prepare()
    assert "\n" not in str(refusal.value)
    await channel.close()


@pytest.mark.parametrize(("wanted", "reason"), [("imaginary", "does not exist"), ("devmapper", "failed to start")])
async def test_a_snapshotter_that_cannot_be_used(channel: Channel, wanted: str, reason: str) -> None:
    """The error names the one that is configured, what is wrong with it, and those that would do."""
    with pytest.raises(StoreUnavailableError, match=rf"{wanted}.*{reason}.*overlayfs") as refusal:
        await Probe(channel, wanted).ask()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("version", ["1.6.20~ds1", "v1.7.24", "2.1.4", "v10.0.0", "unknown", "a1b2c3d"])
def test_versions_that_will_do(version: str) -> None:
    """Those of 1.6 and later, and those that are no release."""
    check_version(version)


@pytest.mark.parametrize("version", ["1.5.18", "v1.4.13~ds1", "0.2.9"])
def test_versions_that_are_too_old(version: str) -> None:
    """The error says which one is there, and which one is needed."""
    with pytest.raises(StoreUnavailableError, match=rf"{version} is too old.*1\.6"):
        check_version(version)


async def test_no_socket(directory: Path) -> None:
    """Where nothing listens a call fails, and does not wait for somebody to."""
    channel = Channel(directory / "nothing.sock", "default")
    with pytest.raises(StoreUnavailableError, match="UNAVAILABLE"):
        await Probe(channel, "overlayfs", deadline=60).ask()
    await channel.close()


async def test_a_hanging_containerd(containerd: Containerd, channel: Channel) -> None:
    """A call ends at its deadline, and the channel works again when containerd does."""
    probe = Probe(channel, "overlayfs")
    await probe.ask()
    containerd.pause()
    try:
        with pytest.raises(StoreUnavailableError, match="DEADLINE_EXCEEDED"):
            await Probe(channel, "overlayfs", deadline=0.3).ask()
    finally:
        containerd.resume()
    assert await _ask_until_it_answers(probe)


async def test_a_restarted_containerd(containerd: Containerd, channel: Channel) -> None:
    """The channel finds a containerd again that was killed and started."""
    probe = Probe(channel, "overlayfs")
    facts = await probe.ask()
    containerd.kill()
    with pytest.raises(StoreUnavailableError):
        await probe.ask()
    containerd.start()
    assert await _ask_until_it_answers(probe) == facts


async def test_suspended(channel: Channel, content: Content, lease: str) -> None:
    """Nothing but a probe reaches containerd until the channel is resumed."""
    data, digest = fresh()
    channel.suspend("it hangs")
    for refused in (content.size(digest), store(content, data, lease), anext(aiter(content.list()))):
        with pytest.raises(StoreUnavailableError, match="it hangs"):
            await refused
    assert await Probe(channel, "overlayfs").ask()
    channel.resume()
    assert await store(content, data, lease) == digest


async def test_suspended_while_containerd_hangs(containerd: Containerd, channel: Channel, lease: str) -> None:
    """Who waits for it, however patiently, waits no longer; what it had is there when it goes on."""
    content = streamed(channel, Patience(message=3600, whole=3600))
    ref = fresh_ref()
    ingest = await content.ingest(ref, lease)
    await ingest.write(b"first")
    await ingest.flush()
    containerd.pause()
    try:
        await ingest.write(b"second")
        waiting = asyncio.ensure_future(ingest.flush())
        await asyncio.wait([waiting], timeout=0.1)
        assert not waiting.done()
        channel.suspend("it hangs")
        with pytest.raises(StoreUnavailableError):
            await waiting
        await ingest.close()
    finally:
        containerd.resume()
    channel.resume()
    again = await content.ingest(ref, lease)
    assert again.offset >= len("first")
    await again.close()


async def _ask_until_it_answers(probe: Probe) -> StoreFacts:
    async with asyncio.timeout(60):
        while True:
            try:
                return await probe.ask()
            except StoreUnavailableError:
                await asyncio.sleep(0.02)
