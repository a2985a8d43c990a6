"""The rooms under test; each test gets a lease and bytes of its own, so tests share a real containerd.

What needs only the ports to containerd runs twice: on a real one, and on the double, which is true because of that.
The rules then run on the double, and on a real one only with the slow tests.
"""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from mirror.containerd.channel import Channel
from mirror.containerd.content import ContentStore
from mirror.containerd.leases import LeaseManager
from mirror.containerd.replacement import ContentReplacement
from mirror.containerd.spool import Spool
from mirror.containerd.stream import StreamImporter
from mirror.containerd.threads import Threads
from mirror.core.ports import Content, Images, Leases, Replacement, Snapshots
from mirror.runtime.clock import SystemClock
from tests.contract.rooms import DoubleRooms, RealRooms, Rooms
from tests.contract.scripted import Scripted, serving
from tests.contract.witness import DoubleWitness, RealWitness, Witness
from tests.double.connection import Connection
from tests.double.state import Store
from tests.rig.containerd import Containerd

# Snapshots on a second snapshotter; content by both ways of bytes into the store, of which the first is the stream.
_MORE = {"snapshots": ["native"], "content": ["direct"]}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on the double too, unless it asks for a real part by name; one of snapshots on two snapshotters."""
    asked = set(metafunc.fixturenames)
    if "part" in asked and not asked & {"channel", "containerd"}:
        # What the suite proves of the double need not be proven by each rule again, but now and then it may be.
        is_rule = metafunc.module.__name__.startswith(f"{__package__}.rules.")
        real = pytest.param("containerd", marks=pytest.mark.slow) if is_rule else "containerd"
        more = _MORE.get(metafunc.module.__name__.rpartition("_")[2], [])
        metafunc.parametrize("part", ["double", real, *more])


@pytest.fixture
def part() -> str:
    """Which containerd the ports of a test are on."""
    return "containerd"


@pytest_asyncio.fixture
async def channel(containerd: Containerd) -> AsyncIterator[Channel]:
    channel = Channel(Path(containerd.address), Containerd.namespace)
    yield channel
    await channel.close()


@pytest.fixture
def snapshotter(part: str) -> str:
    """Whose snapshots they are."""
    return "native" if part == "native" else Containerd.snapshotter


@pytest.fixture
def double() -> Store:
    """A containerd in memory, empty."""
    return Store(SystemClock())


@pytest.fixture
def rooms(part: str, snapshotter: str, request: pytest.FixtureRequest) -> Rooms:
    """The ports; a real containerd is started only for those who use it."""
    if part == "double":
        return DoubleRooms(Connection(request.getfixturevalue("double")))
    containerd: Containerd = request.getfixturevalue("containerd")
    spool = Spool(containerd.spool, Threads()) if part == "direct" else None
    return RealRooms(request.getfixturevalue("channel"), snapshotter, containerd.store, spool)


@pytest.fixture
def witness(part: str, snapshotter: str, request: pytest.FixtureRequest) -> Witness:
    if part == "double":
        return DoubleWitness(request.getfixturevalue("double"))
    return RealWitness(request.getfixturevalue("containerd"), request.getfixturevalue("channel"), snapshotter)


@pytest.fixture
def content(rooms: Rooms) -> Content:
    return rooms.content(SystemClock())


@pytest.fixture
def images(rooms: Rooms) -> Images:
    return rooms.images()


@pytest.fixture
def leases(rooms: Rooms) -> Leases:
    return rooms.leases(SystemClock())


@pytest.fixture
def snapshots(rooms: Rooms) -> Snapshots:
    return rooms.snapshots()


@pytest.fixture
def replacement(channel: Channel) -> Replacement:
    clock = SystemClock()
    stream = StreamImporter(channel, clock)
    return ContentReplacement(ContentStore(channel, stream), stream, LeaseManager(channel, clock))


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
