"""Snapshots, on a real containerd with each snapshotter that it has on every host, and on the double."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from mirror.core.errors import BadLayerError, ContentMissingError, StoreUnavailableError
from mirror.core.ports import Content, Extraction, Leases, Snapshot, Snapshots
from mirror.oci.manifest import Descriptor, chain_ids, parse_config, parse_manifest
from tests.contract.rooms import Rooms
from tests.contract.store import fresh, store
from tests.contract.witness import Witness, halves
from tests.rig.containerd import HALTED, Containerd
from tests.rig.images import Compression, File, Layer, Layout, Noise, build_image


def marked(compression: Compression = "gzip") -> Layer:
    """A layer that no other test has."""
    return Layer([File(f"marker-{secrets.token_hex(8)}", b"here")], compression)


def steps(layout: Layout) -> list[Extraction]:
    """What unpacking an image takes."""
    manifest = parse_manifest(layout.manifest)
    assert manifest.config
    diff_ids = parse_config(layout.blob(manifest.config.digest).read_bytes()).rootfs.diff_ids
    chain = chain_ids(diff_ids)
    return [
        Extraction(layer, diff_id=diff_id, chain_id=chain_id, parent=parent)
        for layer, diff_id, chain_id, parent in zip(manifest.layers, diff_ids, chain, ["", *chain], strict=False)
    ]


async def push(content: Content, layout: Layout, lease: str) -> None:
    """Put every blob of an image into the store."""
    for blob in layout.children:
        await store(content, layout.blob(blob.digest).read_bytes(), lease)


async def one_layer(content: Content, directory: Path, lease: str, layer: Layer) -> Extraction:
    """Push an image of one layer; the step that unpacks it."""
    layout = build_image(directory / "layout", [layer])
    await push(content, layout, lease)
    return steps(layout)[0]


async def raw_layer(content: Content, lease: str, data: bytes) -> Extraction:
    """Push bytes that claim to be a layer."""
    layer = Descriptor(await store(content, data, lease), len(data), "application/vnd.oci.image.layer.v1.tar+gzip")
    return Extraction(layer, diff_id=fresh()[1], chain_id=fresh()[1], parent="")


@dataclass(frozen=True)
class Lasting:
    """A layer whose unpacking is not over before it is let go; in memory any can be watched."""

    step: Extraction
    containerd: Containerd | None

    def let_go(self) -> None:
        """Let it come to its end."""
        if self.containerd:
            self.containerd.halt.unlink()


@pytest_asyncio.fixture
async def lasting(
    part: str, content: Content, directory: Path, lease: str, request: pytest.FixtureRequest
) -> AsyncIterator[Lasting]:
    step = await one_layer(content, directory, lease, marked())
    if part == "double":
        yield Lasting(step, None)
        return
    containerd: Containerd = request.getfixturevalue("containerd")
    halted = Descriptor(step.layer.digest, step.layer.size, HALTED)
    containerd.halt.touch()
    yield Lasting(replace(step, layer=halted), containerd)
    containerd.halt.unlink(missing_ok=True)


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
async def test_extract(
    witness: Witness,
    content: Content,
    snapshots: Snapshots,
    snapshotter: str,
    directory: Path,
    lease: str,
    compression: Compression,
) -> None:
    """A layer becomes a snapshot that the lease holds, and says what it is uncompressed; no half is left."""
    step = await one_layer(content, directory, lease, marked(compression))
    assert not await snapshots.exists(step.chain_id)
    assert not await snapshots.hold(lease, step)
    await snapshots.extract(step, lease)
    assert await snapshots.exists(step.chain_id)
    assert await snapshots.hold(lease, step)
    assert (f"snapshots/{snapshotter}", step.chain_id) in await witness.held(lease)
    assert (await witness.content_labels(step.layer.digest))["containerd.io/uncompressed"] == step.diff_id
    assert not await halves(witness)


async def test_layers_on_layers(
    witness: Witness, content: Content, snapshots: Snapshots, directory: Path, lease: str
) -> None:
    """Each snapshot stands on the one below, an empty layer included, as containerd itself tells."""
    layout = build_image(directory / "layout", [marked(), Layer([]), marked("zstd")])
    await push(content, layout, lease)
    for step in steps(layout):
        await snapshots.extract(step, lease)
        assert (await witness.snapshots())[step.chain_id] == step.parent


async def test_twice(
    witness: Witness,
    content: Content,
    snapshots: Snapshots,
    leases: Leases,
    directory: Path,
    snapshotter: str,
    lease: str,
) -> None:
    """What is unpacked already is held by the second lease too, and stays the only one."""
    step = await one_layer(content, directory, lease, marked())
    await snapshots.extract(step, lease)
    await leases.create(f"{lease}/second")
    await snapshots.extract(step, f"{lease}/second")
    assert (f"snapshots/{snapshotter}", step.chain_id) in await witness.held(f"{lease}/second")
    assert not await halves(witness)


async def test_another_layer_that_is_the_same(
    witness: Witness, content: Content, snapshots: Snapshots, directory: Path, lease: str
) -> None:
    """Compressed in another way it is another blob: once it was compared it is known to be what is unpacked."""
    files = [File(f"marker-{secrets.token_hex(8)}", b"here")]
    first = await one_layer(content, directory / "first", lease, Layer(files, "gzip"))
    second = await one_layer(content, directory / "second", lease, Layer(files, "none"))
    await snapshots.extract(first, lease)
    assert first.chain_id == second.chain_id
    assert await snapshots.exists(second.chain_id)
    assert not await snapshots.hold(lease, second)
    await snapshots.extract(second, lease)
    assert await snapshots.hold(lease, second)
    assert not await halves(witness)


async def test_another_layer_that_somebody_made_of_it(
    content: Content, snapshots: Snapshots, directory: Path, lease: str
) -> None:
    """Whoever made it says what is inside; it need not be unpacked to know that."""
    layer = marked()
    first = await one_layer(content, directory / "a", lease, layer)
    second = await one_layer(content, directory / "b", lease, replace(layer, compression="zstd"))
    await snapshots.extract(first, lease)
    assert not await snapshots.hold(lease, second)
    await snapshots.know(second.layer.digest, second.diff_id)
    assert await snapshots.hold(lease, second)
    with pytest.raises(ContentMissingError):
        await snapshots.know(fresh()[1], second.diff_id)


async def test_a_layer_that_pretends_to_be_another(
    witness: Witness, content: Content, snapshots: Snapshots, directory: Path, lease: str
) -> None:
    """A config may name any diff ID: what is unpacked already is not given away for it, and stays as it is."""
    real = await one_layer(content, directory / "real", lease, marked())
    await snapshots.extract(real, lease)
    other = await one_layer(content, directory / "other", lease, marked())
    pretended = replace(real, layer=other.layer)
    assert not await snapshots.hold(lease, pretended)
    with pytest.raises(BadLayerError, match="its config says"):
        await snapshots.extract(pretended, lease)
    assert not await snapshots.hold(lease, pretended)
    assert await snapshots.hold(lease, real)
    assert not await halves(witness)


async def test_at_the_same_time(
    witness: Witness, content: Content, snapshots: Snapshots, directory: Path, snapshotter: str, lease: str
) -> None:
    """Of those who unpack one layer at the same time (kubelet, say) all succeed, and no half is left."""
    step = await one_layer(content, directory, lease, Layer([Noise("noise", 4_000_000 + secrets.randbelow(1000))]))
    await asyncio.gather(*(snapshots.extract(step, lease) for _ in range(4)))
    assert (f"snapshots/{snapshotter}", step.chain_id) in await witness.held(lease)
    assert not await halves(witness)


async def test_another_layer_than_the_config_says(
    witness: Witness, content: Content, snapshots: Snapshots, directory: Path, lease: str
) -> None:
    """A wrong diff ID is for ever, and nothing stays under the chain ID that it would have had."""
    step = await one_layer(content, directory, lease, marked())
    wrong = replace(step, diff_id=fresh()[1])
    with pytest.raises(BadLayerError, match=step.diff_id):
        await snapshots.extract(wrong, lease)
    assert not await snapshots.hold(lease, step)
    assert not await halves(witness)


@pytest.mark.parametrize("damage", ["truncated", "corrupt", "no tar", "no gzip"])
async def test_a_damaged_layer(
    witness: Witness,
    content: Content,
    snapshots: Snapshots,
    directory: Path,
    lease: str,
    damage: str,
) -> None:
    """Bytes that are no layer never become one: that is told apart from a containerd in trouble."""
    layout = build_image(directory / "layout", [Layer([Noise("noise", 300_000)])])
    good = layout.blob(layout.children[1].digest).read_bytes()
    middle = len(good) // 2
    data = {
        "truncated": good[:middle],
        "corrupt": good[:middle] + bytes(100) + good[middle + 100 :],
        "no tar": fresh(5000)[0],
        "no gzip": good[:10] + fresh(5000)[0],
    }[damage]
    step = await raw_layer(content, lease, data)
    with pytest.raises(BadLayerError, match=step.layer.digest):
        await snapshots.extract(step, lease)
    assert not await halves(witness)


async def test_a_layer_that_is_gone(
    witness: Witness, content: Content, snapshots: Snapshots, directory: Path, lease: str
) -> None:
    """`ctr content rm` before the unpack: the error names the digest."""
    step = await one_layer(content, directory, lease, marked())
    await witness.remove_content(step.layer.digest)
    with pytest.raises(ContentMissingError, match=step.layer.digest):
        await snapshots.extract(step, lease)
    assert not await halves(witness)


async def test_a_parent_that_is_gone(content: Content, snapshots: Snapshots, directory: Path, lease: str) -> None:
    """A layer below that was collected meanwhile can be unpacked again: the whole may succeed later."""
    step = await one_layer(content, directory, lease, marked())
    with pytest.raises(StoreUnavailableError, match="parent"):
        await snapshots.extract(replace(step, parent=fresh()[1]), lease)


async def test_cancelled_half_way(witness: Witness, snapshots: Snapshots, lease: str, lasting: Lasting) -> None:
    """A shutdown in the middle of an unpack takes its half snapshot away."""
    unpack = asyncio.ensure_future(snapshots.extract(lasting.step, lease))
    async with asyncio.timeout(60):
        while not await halves(witness):
            assert not unpack.done()
    unpack.cancel()
    with pytest.raises(asyncio.CancelledError):
        await unpack
    assert not await halves(witness)


@pytest.mark.parametrize("attached", [True, False])
async def test_attach(
    witness: Witness,
    content: Content,
    snapshots: Snapshots,
    leases: Leases,
    directory: Path,
    lease: str,
    attached: bool,  # noqa: FBT001 - pytest passes by name
) -> None:
    """With no lease left, the snapshots live by the config's reference, and by nothing else."""
    layout = build_image(directory / "layout", [marked(), marked()])
    await push(content, layout, lease)
    for step in (every := steps(layout)):
        await snapshots.extract(step, lease)
    config = parse_manifest(layout.manifest).config
    assert config
    await leases.create(f"{lease}/config")
    await leases.hold(f"{lease}/config", config.digest)
    if attached:
        await snapshots.attach(config.digest, every[-1].chain_id)
    await leases.delete(lease)
    await witness.collect_garbage()
    there = await witness.snapshots()
    assert {step.chain_id in there for step in every} == {attached}


async def test_attach_to_nothing(snapshots: Snapshots) -> None:
    """A config that is gone cannot keep anything."""
    with pytest.raises(ContentMissingError):
        await snapshots.attach(fresh()[1], fresh()[1])


async def test_all_there_is(content: Content, snapshots: Snapshots, directory: Path, lease: str) -> None:
    """The list has every layer with the one below it; one that is removed is gone, and may be removed once more."""
    layout = build_image(directory / "layout", [marked(), marked()])
    await push(content, layout, lease)
    lower, upper = steps(layout)
    for step in (lower, upper):
        await snapshots.extract(step, lease)
    listed = {snapshot.key: snapshot for snapshot in await snapshots.list()}
    assert listed[lower.chain_id] == Snapshot(lower.chain_id, "", is_committed=True)
    assert listed[upper.chain_id] == Snapshot(upper.chain_id, lower.chain_id, is_committed=True)
    for _ in range(2):
        await snapshots.remove(upper.chain_id)
    assert upper.chain_id not in {snapshot.key for snapshot in await snapshots.list()}


async def test_abandoned(witness: Witness, rooms: Rooms, snapshots: Snapshots, lease: str, lasting: Lasting) -> None:
    """A half snapshot is abandoned for everybody but who works on it; those of other unpackers never are."""
    await witness.prepare(f"extract-1 {fresh()[1]}", lease)
    unpack = asyncio.ensure_future(snapshots.extract(lasting.step, lease))
    restarted = rooms.snapshots()
    async with asyncio.timeout(60):
        while not (found := await restarted.abandoned()):
            assert not unpack.done()
    assert [key.split(" ")[1] for key in found] == [lasting.step.chain_id]
    assert await snapshots.abandoned() == []
    lasting.let_go()
    await unpack
    assert await restarted.abandoned() == []


async def test_one_that_others_stand_on(content: Content, snapshots: Snapshots, directory: Path, lease: str) -> None:
    """It cannot be removed before them."""
    layout = build_image(directory / "layout", [marked(), marked()])
    await push(content, layout, lease)
    lower, upper = steps(layout)
    for step in (lower, upper):
        await snapshots.extract(step, lease)
    with pytest.raises(StoreUnavailableError, match="child"):
        await snapshots.remove(lower.chain_id)
    for step in (upper, lower):
        await snapshots.remove(step.chain_id)
    assert not await snapshots.hold(lease, lower)


async def test_a_half_goes_with_its_lease(witness: Witness, leases: Leases, lease: str) -> None:
    """What an unpacker left that died is kept by its lease, and by nothing else."""
    half = f"extract-{secrets.token_hex(8)} {fresh()[1]}"
    await witness.prepare(half, lease)
    await witness.collect_garbage()
    assert half in await witness.snapshots()
    await leases.delete(lease)
    await witness.collect_garbage()
    assert half not in await witness.snapshots()
