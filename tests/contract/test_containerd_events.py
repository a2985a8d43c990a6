"""Events and containers, on a real containerd, which others use too, and on the double."""

import asyncio
import secrets
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from mirror.core.errors import StoreUnavailableError
from mirror.core.ports import Change, Container, Content, Extraction, Images, Leases, Snapshots
from mirror.oci.manifest import OCI_MANIFEST, Descriptor, Manifest, chain_ids, parse_config, parse_manifest
from tests.contract.rooms import Rooms
from tests.contract.store import fresh, load, store
from tests.contract.witness import Witness
from tests.rig.images import Layout, build_image, busybox


@dataclass(frozen=True)
class Unpacked:
    """An image of one layer, ready to run."""

    name: str
    lease: str
    layout: Layout
    chain_id: str


@pytest_asyncio.fixture
async def unpacked(content: Content, images: Images, snapshots: Snapshots, directory: Path, lease: str) -> Unpacked:
    layout = build_image(directory / "layout", [busybox(directory.name)])
    for blob in layout.children:
        await store(content, layout.blob(blob.digest).read_bytes(), lease)
    manifest = parse_manifest(layout.manifest)
    edges = {place: child.digest for place, child in manifest.edges().items()}
    await content.put(manifest.raw, manifest.digest, lease, edges)
    name = f"registry.example.com/team/{secrets.token_hex(4)}:v1"
    await images.point(name, manifest.descriptor)
    chain_id = await _unpack(content, snapshots, manifest, lease)
    return Unpacked(name, lease, layout, chain_id)


async def _unpack(content: Content, snapshots: Snapshots, manifest: Manifest, lease: str) -> str:
    """Unpack an image of one layer; its chain ID."""
    assert manifest.config
    (diff_id,) = parse_config(await load(content, manifest.config.digest)).rootfs.diff_ids
    (chain_id,) = chain_ids([diff_id])
    await snapshots.extract(Extraction(manifest.layers[0], diff_id, chain_id, ""), lease)
    await snapshots.attach(manifest.config.digest, chain_id)
    return chain_id


async def test_image_records_that_others_touch(witness: Witness, rooms: Rooms, images: Images) -> None:
    """Each change comes with its name, in the order of the changes."""
    name = f"registry.example.com/team/{secrets.token_hex(4)}:v1"
    changes = rooms.events().follow()
    first = asyncio.ensure_future(anext(changes))
    async with asyncio.timeout(60):
        while not first.done():  # nothing tells when containerd has begun to listen for us
            await images.point(f"{name}-first", target())
            await asyncio.sleep(0.05)
        await images.point(name, target())
        await witness.tag(name, f"{name}-other")
        await witness.remove_image(name)
        seen = [Change("", "")]
        while seen[-1] != Change("/images/delete", name):
            seen.append(await anext(changes))
    assert [change for change in seen if change.name in {name, f"{name}-other"}] == [
        Change("/images/create", name),
        Change("/images/create", f"{name}-other"),
        Change("/images/delete", name),
    ]


async def test_events_end_with_containerd(witness: Witness, rooms: Rooms, images: Images) -> None:
    """Whoever follows is told that it went away."""
    changes = rooms.events().follow()
    following = asyncio.ensure_future(anext(changes))
    await images.get("which is asked for after them")
    await witness.kill()
    with pytest.raises(StoreUnavailableError):
        await following
    await witness.start()


async def test_containers(witness: Witness, rooms: Rooms, unpacked: Unpacked) -> None:
    """Each says what it was made from, and what it writes to; those on another snapshotter are not ours to ask for."""
    identifier = f"rig-{secrets.token_hex(4)}"
    await witness.create_container(unpacked.name, identifier, unpacked.chain_id)
    made = Container(unpacked.name, identifier)
    assert made in await rooms.containers("overlayfs").list()
    assert made not in await rooms.containers("native").list()
    await witness.remove_container(identifier)
    assert made not in await rooms.containers("overlayfs").list()


async def test_what_a_container_keeps(witness: Witness, images: Images, leases: Leases, unpacked: Unpacked) -> None:
    """Its snapshot with those below, and not the image that it was made from."""
    identifier = f"rig-{secrets.token_hex(4)}"
    await witness.create_container(unpacked.name, identifier, unpacked.chain_id)
    await images.delete(unpacked.name)
    await leases.delete(unpacked.lease)
    await witness.collect_garbage()
    assert {identifier, unpacked.chain_id} <= set(await witness.snapshots())
    assert not {blob.digest for blob in unpacked.layout.children} & await witness.contents()
    await witness.remove_container(identifier)
    await witness.collect_garbage()
    assert unpacked.chain_id not in await witness.snapshots()


def target() -> Descriptor:
    """A manifest; an image record does not ask whether it exists."""
    data, digest = fresh()
    return Descriptor(digest, len(data), OCI_MANIFEST)
