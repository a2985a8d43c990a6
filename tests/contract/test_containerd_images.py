"""Images, on a real containerd and on the double."""

import asyncio
import secrets

import pytest

from mirror.containerd.channel import Channel
from mirror.containerd.images import ImageRecords
from mirror.core.ports import Content, Image, Images, Leases
from mirror.oci.manifest import OCI_MANIFEST, Descriptor
from mirror.runtime.clock import SystemClock
from tests.contract.store import fresh, store
from tests.contract.witness import Witness
from tests.rig.containerd import Containerd


@pytest.fixture
def name() -> str:
    return f"registry.example.com/team/app:{secrets.token_hex(4)}"


def target() -> Descriptor:
    """A manifest; an image record does not ask whether it exists."""
    data, digest = fresh()
    return Descriptor(digest, len(data), OCI_MANIFEST)


async def test_no_record(images: Images, name: str) -> None:
    """A name that was never pointed anywhere."""
    assert await images.get(name) is None


async def test_a_record_is_made_and_moved(witness: Witness, images: Images, name: str) -> None:
    """The name points to what it was pointed to last, for us as for ctr, and says since when."""
    began = SystemClock().now()
    for manifest in (target(), target()):
        await images.point(name, manifest)
        image = await images.get(name)
        assert image == Image(name, manifest, image.updated if image else 0.0)
        assert began <= image.updated <= SystemClock().now()
        began = image.updated
        assert (await witness.images())[name] == manifest.digest


async def test_labels_of_others_stay(witness: Witness, images: Images, name: str) -> None:
    """Moving a record touches its target only."""
    await images.point(name, target())
    await witness.label_image(name, "io.cri-containerd.image", "managed")
    await images.point(name, target())
    assert await witness.image_labels(name) == {"io.cri-containerd.image": "managed"}


async def test_a_record_that_was_removed(witness: Witness, images: Images, name: str) -> None:
    """What an operator removed is gone, and can be made anew."""
    await images.point(name, target())
    await witness.remove_image(name)
    assert await images.get(name) is None
    await images.point(name, target())
    assert await images.get(name) is not None


async def test_many_at_once(images: Images, name: str) -> None:
    """Of those who make the same record at the same time none fails, and one of them wins."""
    targets = [target() for _ in range(8)]
    await asyncio.gather(*(images.point(name, one) for one in targets))
    image = await images.get(name)
    assert image
    assert image.target in targets


async def test_the_records_of_one_repository(images: Images) -> None:
    """A prefix is taken as it stands, however much it looks like a pattern."""
    repository = f"registry.example.com:5443/team/a.{secrets.token_hex(4)}_b-c"
    strangers = [repository.replace(".", "x") + ":v1", f"{repository}-d:v1", f"elsewhere/{repository}:v1"]
    for name in (f"{repository}:v1", f"{repository}:v2", *strangers):
        await images.point(name, target())
    assert {image.name for image in await images.list(f"{repository}:")} == {f"{repository}:v1", f"{repository}:v2"}
    assert await images.list(f"{repository}:v3") == []


async def test_a_record_is_deleted(images: Images, name: str) -> None:
    """It is gone, and deleting it once more is no error."""
    await images.point(name, target())
    for _ in range(2):
        await images.delete(name)
        assert await images.get(name) is None


async def test_labels_of_ours(containerd: Containerd, channel: Channel, name: str) -> None:
    """They are on a record that is made, and are put on one that somebody else made, beside what it has."""
    await ImageRecords(channel).point(name, target())
    containerd.ctr("images", "label", name, "team=ours")
    labelled = ImageRecords(channel, {"io.cri-containerd.image": "managed"})
    for record in (name, f"{name}-new"):
        await labelled.point(record, target())
        assert "io.cri-containerd.image=managed" in containerd.ctr("images", "ls", f"name=={record}")
    assert "team=ours" in containerd.ctr("images", "ls", f"name=={name}")


async def test_more_than_one_message_can_hold(channel: Channel) -> None:
    """All of them are listed, where containerd refuses to answer with all of them at once: 16 MiB is its limit."""
    labels = {f"label-{number}": "x" * 4000 for number in range(50)}
    images, repository = ImageRecords(channel, labels), f"registry.example.com/team/{secrets.token_hex(4)}"
    names = {f"{repository}:v{number}" for number in range(100)}
    for name in names:
        await images.point(name, target())
    listed = await images.list(f"{repository}:")
    assert len(listed) == len(names)
    assert {image.name for image in listed} == names
    for name in names:
        await images.delete(name)


async def test_what_a_record_keeps(
    witness: Witness, content: Content, images: Images, leases: Leases, lease: str, name: str
) -> None:
    """The manifest that it points to, with all that this refers to, for as long as it does."""
    child = await store(content, fresh()[0], lease)
    data, digest = fresh()
    await content.put(data, digest, lease, {"l.0": child})
    await images.point(name, Descriptor(digest, len(data), OCI_MANIFEST))
    await leases.delete(lease)
    await witness.collect_garbage()
    assert {child, digest} <= await witness.contents()
    await images.point(name, target())
    await witness.collect_garbage()
    assert not {child, digest} & await witness.contents()
