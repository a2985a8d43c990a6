"""Which way uploads take, on containerds and filesystems that allow the direct one or do not."""

import asyncio
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from mirror.containerd.channel import Channel
from mirror.containerd.content import ContentStore
from mirror.containerd.importer import Importers, Way
from mirror.containerd.leases import LeaseManager
from mirror.containerd.probe import Probe
from mirror.containerd.spoolfile import CHUNK
from mirror.core.errors import StoreUnavailableError
from mirror.core.ports import StoreFacts
from mirror.runtime.clock import SystemClock
from tests.contract.store import fresh, fresh_ref, load
from tests.rig.containerd import Containerd


class Isolated(Containerd):
    """One whose namespaces do not share content."""

    def _settings(self) -> dict[str, object]:
        policy = {"io.containerd.metadata.v1.bolt": {"content_sharing_policy": "isolated"}}
        return {**super()._settings(), "plugins": {**self._plugins(), **policy}}


@pytest.fixture
def isolated(scratch: Path) -> Iterator[Containerd]:
    with Isolated(Path(tempfile.mkdtemp(dir=scratch))) as containerd:
        yield containerd


@pytest_asyncio.fixture
async def facts(channel: Channel) -> StoreFacts:
    """What containerd says of itself."""
    return await Probe(channel, Containerd.snapshotter).ask()


def importers(channel: Channel, way: Way) -> Importers:
    """Those of one process."""
    clock = SystemClock()
    return Importers(channel, clock, LeaseManager(channel, clock), way)


async def chosen(channel: Channel, way: Way, facts: StoreFacts) -> tuple[Importers, dict[str, str]]:
    """Importers that have chosen, and what they said of it."""
    made = importers(channel, way)
    with capture_logs() as lines:
        await made.choose(facts)
        await made.choose(facts)
    assert [line["event"] for line in lines] == ["import.chosen"]
    return made, {key: lines[0][key] for key in ("way", "reason")}


async def goes(containerd: Containerd, made: Importers, lease: str) -> str:
    """The way that a new upload takes."""
    data, digest = fresh(2 * CHUNK)
    ingest = await made.open(ref := fresh_ref(), lease)
    await ingest.write(data)
    await ingest.flush()
    way = "stream" if ref in containerd.ctr("content", "active") else "direct"
    assert await made.offset(ref) == len(data)
    assert ref in await made.refs("registry-mirror/upload/")
    await ingest.commit(digest)
    assert ref not in await made.refs("registry-mirror/upload/")
    return way


@contextmanager
def mounted(directory: Path, *options: str) -> Iterator[None]:
    """A filesystem of its own, or a bind mount, at a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", *options, str(directory)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@pytest.mark.parametrize(("way", "taken"), [("auto", "direct"), ("direct", "direct"), ("stream", "stream")])
async def test_where_both_can_be(
    containerd: Containerd, channel: Channel, facts: StoreFacts, lease: str, way: Way, taken: str
) -> None:
    """By itself it is the direct way; the choice is said once, with its reason."""
    made, said = await chosen(channel, way, facts)
    assert said["way"] == taken == await goes(containerd, made, lease)
    assert made.reason is None


async def _only_the_stream(containerd: Containerd, channel: Channel, facts: StoreFacts, reason: str) -> None:
    """By itself it is the stream, and says why; who wants the direct way alone is refused, with the same reason."""
    lease = fresh_ref()
    await LeaseManager(channel, SystemClock()).create(lease)
    made, said = await chosen(channel, "auto", facts)
    assert said["way"] == "stream" == await goes(containerd, made, lease)
    assert reason in said["reason"]
    strict, said = await chosen(channel, "direct", facts)
    assert said["way"] == "none"
    assert strict.reason is not None
    assert reason in strict.reason
    with pytest.raises(StoreUnavailableError, match=reason):
        await strict.open(fresh_ref(), lease)


async def test_namespaces_that_share_nothing(isolated: Containerd) -> None:
    """With the policy "isolated", containerd would take no blob that it was not given."""
    channel = Channel(Path(isolated.address), Containerd.namespace)
    facts = await Probe(channel, Containerd.snapshotter).ask()
    assert facts.policy == "isolated"
    await _only_the_stream(isolated, channel, facts, "isolated")
    await channel.close()


async def test_a_store_that_cannot_be_seen(
    containerd: Containerd, channel: Channel, facts: StoreFacts, directory: Path
) -> None:
    """It may be in another mount namespace, where its path leads nowhere or to another place; or not be told of."""
    nowhere = replace(facts, content=Path("/nowhere/io.containerd.content.v1.content"))
    await _only_the_stream(containerd, channel, nowhere, "No such file")
    other = replace(facts, content=directory / "io.containerd.content.v1.content")
    await _only_the_stream(containerd, channel, other, "does not see")
    assert not _files(directory)
    await _only_the_stream(containerd, channel, replace(facts, content=None), "does not tell")


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


async def test_a_containerd_that_goes_away(
    containerd: Containerd, channel: Channel, facts: StoreFacts, lease: str
) -> None:
    """That says nothing of the way either: nothing is chosen before it is back."""
    made = importers(channel, "auto")
    channel.suspend("it hangs")
    with pytest.raises(StoreUnavailableError, match="it hangs"):
        await made.choose(facts)
    channel.resume()
    await made.choose(facts)
    assert await goes(containerd, made, lease) == "direct"


async def test_a_spool_on_another_filesystem(containerd: Containerd, channel: Channel, facts: StoreFacts) -> None:
    """Nothing can be linked across."""
    with mounted(containerd.spool, "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        await _only_the_stream(containerd, channel, facts, "cross-device")


async def test_a_spool_that_is_read_only(containerd: Containerd, channel: Channel, facts: StoreFacts) -> None:
    """So it is for a service that systemd has shut in, and not told of the store."""
    with mounted(containerd.spool, "-t", "tmpfs", "-o", "ro", "tmpfs"):
        await _only_the_stream(containerd, channel, facts, "Read-only file system")


@pytest.mark.parametrize("size", [17, 3 * CHUNK])
@pytest.mark.parametrize(("before", "after"), [("stream", "auto"), ("auto", "stream"), ("auto", "auto")])
async def test_an_upload_goes_on_where_it_was_begun(
    channel: Channel, facts: StoreFacts, lease: str, before: Way, after: Way, size: int
) -> None:
    """Another process, which takes the other way or the same, has its bytes, and commits all of them."""
    data, digest = fresh(size + 1000)
    ref = fresh_ref()
    first, _ = await chosen(channel, before, facts)
    ingest = await first.open(ref, lease)
    await ingest.write(data[:size])
    await ingest.flush()
    await ingest.close()
    second, _ = await chosen(channel, after, facts)
    assert await second.offset(ref) == size
    again = await second.open(ref, lease)
    assert again.offset == size
    await again.write(data[size:])
    await again.commit(digest)
    assert await load(ContentStore(channel, second), digest) == data
    assert await second.refs(ref) == []


async def test_a_containerd_that_is_set_otherwise_for_a_while(
    containerd: Containerd, channel: Channel, facts: StoreFacts, lease: str
) -> None:
    """What is begun then, on the stream, goes on there when the direct way is open again."""
    made, _ = await chosen(channel, "auto", facts)
    assert await goes(containerd, made, lease) == "direct"
    await made.choose(replace(facts, policy="isolated"))
    ingest = await made.open(ref := fresh_ref(), lease)
    await ingest.write(bytes(1000))
    await ingest.flush()
    await ingest.close()
    await made.choose(facts)
    assert await made.offset(ref) == 1000
    assert await goes(containerd, made, lease) == "direct"


@pytest.mark.parametrize(("before", "after"), [("stream", "auto"), ("auto", "stream")])
async def test_an_upload_is_dropped_where_it_was_begun(
    channel: Channel, facts: StoreFacts, lease: str, before: Way, after: Way
) -> None:
    """It is listed and aborted by a process that takes the other way."""
    ref = fresh_ref()
    first, _ = await chosen(channel, before, facts)
    ingest = await first.open(ref, lease)
    await ingest.write(bytes(1000))
    await ingest.flush()
    await ingest.close()
    second, _ = await chosen(channel, after, facts)
    assert await second.refs(ref) == [ref]
    await second.abort(ref)
    assert await second.refs(ref) == []
    assert await second.offset(ref) is None


async def test_until_it_is_chosen(channel: Channel, facts: StoreFacts, lease: str) -> None:
    """An upload that comes first waits for that, but no longer than until containerd is known to be away."""
    made = importers(channel, "auto")
    first = asyncio.ensure_future(made.open(fresh_ref(), lease))
    await asyncio.wait([first], timeout=0.1)
    assert not first.done()
    channel.suspend("it hangs")
    with pytest.raises(StoreUnavailableError):
        await first
    channel.resume()
    second = asyncio.ensure_future(made.open(fresh_ref(), lease))
    await made.choose(facts)
    await (await second).close()


async def test_a_disk_that_is_full_says_nothing_of_the_way(
    containerd: Containerd, channel: Channel, facts: StoreFacts
) -> None:
    """It will have room again: uploads are refused for that reason meanwhile, and not turned to the stream for good."""
    with mounted(containerd.spool, "-t", "tmpfs", "-o", "size=4k,nr_inodes=1", "tmpfs"):
        made, said = await chosen(channel, "direct", facts)
    assert said["way"] == "direct"
    assert made.reason is None
