"""A containerd whose disk is full: what fails for that reason may succeed later, and must say so."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.containerd.channel import Channel
from mirror.core.errors import StoreUnavailableError
from mirror.core.ports import Content, Extraction, Ingest, Leases, Snapshots
from mirror.core.seen import Seen
from mirror.oci.manifest import chain_ids, parse_config, parse_manifest
from tests.contract.pushes import REPOSITORY
from tests.contract.store import fresh, fresh_ref, halves, store
from tests.rig.containerd import Containerd
from tests.rig.disk import Disk
from tests.rig.images import File, Layer, build_image
from tests.unit.clock import ManualClock

pytestmark = pytest.mark.usefixtures("containerd")  # what is in memory has no disk to be full

DISK = 16 * 1024 * 1024


@pytest.fixture
def disk(directory: Path) -> Iterator[Disk]:
    with Disk(directory / "disk", DISK) as disk:
        yield disk


@pytest.fixture
def containerd(disk: Disk) -> Iterator[Containerd]:
    """One of its own, on a disk of 16 MiB."""
    with Containerd(disk.path / "c") as containerd:
        yield containerd


@pytest.mark.parametrize("part", ["containerd", "direct"])
async def test_ingest(content: Content, lease: str) -> None:
    """A blob larger than the disk fails with the disk's own words; there is room again after the abort."""
    ingest = await content.ingest(ref := fresh_ref(), lease)
    with pytest.raises(StoreUnavailableError, match=r"[Nn]o space left") as refusal:
        await _write(ingest, bytes(2 * DISK))
    assert refusal.value.full
    await ingest.close()
    await content.abort(ref)
    await store(content, fresh(1_000_000)[0], lease)


async def _write(ingest: Ingest, data: bytes) -> None:
    await ingest.write(data)
    await ingest.flush()


async def test_extract(channel: Channel, content: Content, snapshots: Snapshots, directory: Path, lease: str) -> None:
    """A layer that unpacks to more than the disk is not called bad, and leaves no half snapshot."""
    layout = build_image(directory / "layout", [Layer([File("large", bytes(2 * DISK))])])
    config = parse_config(layout.blob(layout.children[0].digest).read_bytes())
    layer = parse_manifest(layout.manifest).layers[0]
    await store(content, layout.blob(layer.digest).read_bytes(), lease)
    chain = chain_ids(config.rootfs.diff_ids)[0]
    with pytest.raises(StoreUnavailableError, match="no space left"):
        await snapshots.extract(Extraction(layer, config.rootfs.diff_ids[0], chain, ""), lease)
    assert not await halves(channel)


async def _hold_more(leases: Leases, lease: str) -> None:
    for _ in range(20_000):
        await leases.hold(lease, fresh()[1])


async def test_what_was_seen(disk: Disk, leases: Leases, lease: str) -> None:
    """Once not even a lease can grow, who asks for content is answered all the same, though nothing holds it."""
    seen = Seen(leases=leases, clock=ManualClock(), new_id=lambda: "full")
    await seen.hold(REPOSITORY, fresh()[1])
    disk.fill()
    with pytest.raises(StoreUnavailableError) as refusal:
        await _hold_more(leases, lease)
    assert refusal.value.full
    await seen.hold(REPOSITORY, fresh()[1])
