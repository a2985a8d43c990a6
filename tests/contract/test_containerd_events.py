"""Events and containers against a real containerd, which others use too."""

import asyncio
import secrets
from pathlib import Path

import pytest

from mirror.containerd.channel import Channel
from mirror.containerd.containers import ContainerRecords
from mirror.containerd.events import EventStream
from mirror.containerd.probe import Probe
from mirror.core.errors import StoreUnavailableError
from mirror.core.ports import Change, Container, Images
from mirror.oci.manifest import OCI_MANIFEST, Descriptor
from tests.contract.store import fresh
from tests.rig.containerd import Containerd
from tests.rig.images import build_image, busybox


async def test_image_records_that_others_touch(containerd: Containerd, channel: Channel, images: Images) -> None:
    """Each change comes with its name, in the order of the changes."""
    name = f"registry.example.com/team/{secrets.token_hex(4)}:v1"
    changes = EventStream(channel).follow()
    first = asyncio.ensure_future(anext(changes))
    async with asyncio.timeout(10):
        while not first.done():  # nothing tells when containerd has begun to listen for us
            await images.point(f"{name}-first", target())
            await asyncio.sleep(0.05)
        await images.point(name, target())
        containerd.ctr("images", "tag", name, f"{name}-other")
        containerd.ctr("images", "rm", name)
        seen = [Change("", "")]
        while seen[-1] != Change("/images/delete", name):
            seen.append(await anext(changes))
    assert [change for change in seen if change.name in {name, f"{name}-other"}] == [
        Change("/images/create", name),
        Change("/images/create", f"{name}-other"),
        Change("/images/delete", name),
    ]


async def test_events_end_with_containerd(containerd: Containerd, channel: Channel) -> None:
    """Whoever follows is told that it went away."""
    changes = EventStream(channel).follow()
    following = asyncio.ensure_future(anext(changes))
    await Probe(channel, Containerd.snapshotter).ask()
    containerd.kill()
    with pytest.raises(StoreUnavailableError):
        await following
    containerd.start()


async def test_containers(containerd: Containerd, channel: Channel, directory: Path) -> None:
    """Each says what it was made from, and what it writes to; those on another snapshotter are not ours to ask for."""
    repository = f"registry.example.com/team/{secrets.token_hex(4)}"
    layout = build_image(directory / "layout", [busybox(directory.name)])
    containerd.import_layout(layout.directory, repository)
    identifier = f"rig-{secrets.token_hex(4)}"
    containerd.ctr("containers", "create", f"{repository}:{layout.tag}", identifier)
    made = Container(f"{repository}:{layout.tag}", identifier)
    assert made in await ContainerRecords(channel, Containerd.snapshotter).list()
    assert made not in await ContainerRecords(channel, "native").list()
    containerd.ctr("containers", "rm", identifier)
    assert made not in await ContainerRecords(channel, Containerd.snapshotter).list()


def target() -> Descriptor:
    """A manifest; an image record does not ask whether it exists."""
    data, digest = fresh()
    return Descriptor(digest, len(data), OCI_MANIFEST)
