"""The rooms under test, on real parts; each test gets a lease and bytes of its own, so tests share a containerd."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from mirror.containerd.channel import Channel
from mirror.containerd.content import ContentStore
from mirror.containerd.images import ImageRecords
from mirror.containerd.leases import LeaseManager
from mirror.containerd.replacement import ContentReplacement
from mirror.containerd.snapshots import Snapshotter
from mirror.core.ports import Content, Images, Leases, Replacement, Snapshots
from mirror.runtime.clock import SystemClock
from tests.contract.scripted import Scripted, serving
from tests.rig.containerd import Containerd


@pytest_asyncio.fixture
async def channel(containerd: Containerd) -> AsyncIterator[Channel]:
    channel = Channel(Path(containerd.address), Containerd.namespace)
    yield channel
    await channel.close()


@pytest.fixture
def content_store(channel: Channel) -> ContentStore:
    return ContentStore(channel, SystemClock())


@pytest.fixture
def content(content_store: ContentStore) -> Content:
    return content_store


@pytest.fixture
def images(channel: Channel) -> Images:
    return ImageRecords(channel)


@pytest.fixture
def leases(channel: Channel) -> Leases:
    return LeaseManager(channel, SystemClock())


@pytest.fixture
def snapshots(channel: Channel, content_store: ContentStore) -> Snapshots:
    return Snapshotter(channel, content_store, LeaseManager(channel, SystemClock()), Containerd.snapshotter)


@pytest.fixture
def replacement(channel: Channel, content_store: ContentStore) -> Replacement:
    return ContentReplacement(content_store, LeaseManager(channel, SystemClock()))


@pytest_asyncio.fixture
async def lease(leases: Leases) -> str:
    name = f"registry-mirror/test/{secrets.token_hex(8)}"
    await leases.create(name)
    return name


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Scripted]:
    """An upstream that does as it is told."""
    async with serving() as server:
        yield server


@pytest_asyncio.fixture
async def stranger() -> AsyncIterator[Scripted]:
    """Another host, such as the upstream's object storage."""
    async with serving() as stranger:
        yield stranger
