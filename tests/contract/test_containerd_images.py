"""Images against a real containerd."""

import asyncio
import secrets

import pytest

from mirror.containerd.channel import Channel
from mirror.containerd.images import ImageRecords
from mirror.core.ports import Image, Images
from mirror.oci.manifest import OCI_MANIFEST, Descriptor
from mirror.runtime.clock import SystemClock
from tests.contract.store import fresh
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


async def test_a_record_is_made_and_moved(containerd: Containerd, images: Images, name: str) -> None:
    """The name points to what it was pointed to last, for us as for ctr, and says since when."""
    began = SystemClock().now()
    for manifest in (target(), target()):
        await images.point(name, manifest)
        image = await images.get(name)
        assert image == Image(name, manifest, image.updated if image else 0.0)
        assert began <= image.updated <= SystemClock().now()
        began = image.updated
        assert containerd.images()[name] == manifest.digest


async def test_labels_of_others_stay(containerd: Containerd, images: Images, name: str) -> None:
    """Moving a record touches its target only."""
    await images.point(name, target())
    containerd.ctr("images", "label", name, "io.cri-containerd.image=managed")
    await images.point(name, target())
    listing = containerd.ctr("images", "ls", f"name=={name}")
    assert "io.cri-containerd.image=managed" in listing


async def test_a_record_that_was_removed(containerd: Containerd, images: Images, name: str) -> None:
    """What an operator removed is gone, and can be made anew."""
    await images.point(name, target())
    containerd.ctr("images", "rm", name)
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
