"""The ports on the two containerds of the contract tests: a real one and the double."""

from pathlib import Path
from typing import Protocol

from mirror.containerd.channel import Channel
from mirror.containerd.containers import ContainerRecords
from mirror.containerd.content import ContentStore
from mirror.containerd.direct import DirectImporter
from mirror.containerd.events import EventStream
from mirror.containerd.files import ContentFiles
from mirror.containerd.images import ImageRecords
from mirror.containerd.importer import Importer
from mirror.containerd.ingest import Patience
from mirror.containerd.leases import LeaseManager
from mirror.containerd.snapshots import Snapshotter
from mirror.containerd.spool import Spool
from mirror.containerd.stream import StreamImporter
from mirror.core.ports import Clock, Containers, Content, Events, Images, Leases, Snapshots
from mirror.runtime.clock import SystemClock
from tests.double.connection import Connection
from tests.double.content import ContentDouble
from tests.double.leases import LeasesDouble
from tests.double.records import ContainersDouble, EventsDouble, ImagesDouble
from tests.double.snapshots import SnapshotsDouble


class Rooms(Protocol):
    """Makes the ports, each time anew: two of a kind share nothing but containerd."""

    def content(self, clock: Clock) -> Content:
        """The clock paces the wait for locked refs."""

    def leases(self, clock: Clock) -> Leases:
        """The clock says when leases end."""

    def images(self) -> Images:
        """Image records."""

    def snapshots(self) -> Snapshots:
        """With nothing under way yet."""

    def events(self) -> Events:
        """What happens."""

    def containers(self, snapshotter: str) -> Containers:
        """Those on a snapshotter."""


class RealRooms:
    """Implements `Rooms` over gRPC and on the files of `store`.

    Blobs go the direct way if there is a spool, which is that of one process.
    """

    def __init__(self, channel: Channel, snapshotter: str, store: Path, spool: Spool | None = None) -> None:
        self._channel = channel
        self._snapshotter = snapshotter
        self._store = store
        self._spool = spool

    def content(self, clock: Clock) -> ContentStore:
        """See `Rooms`."""
        return ContentStore(self._channel, self.importer(clock), files=ContentFiles(self._store))

    def importer(self, clock: Clock) -> Importer:
        """What the blobs of `content` come by."""
        if self._spool is None:
            return StreamImporter(self._channel, clock)
        return DirectImporter(self._channel, clock, self.leases(clock), self._store, self._spool)

    def leases(self, clock: Clock) -> LeaseManager:
        """See `Rooms`."""
        return LeaseManager(self._channel, clock)

    def images(self) -> ImageRecords:
        """See `Rooms`."""
        return ImageRecords(self._channel)

    def snapshots(self) -> Snapshotter:
        """See `Rooms`."""
        clock = SystemClock()
        return Snapshotter(self._channel, self.content(clock), self.leases(clock), self._snapshotter)

    def events(self) -> EventStream:
        """See `Rooms`."""
        return EventStream(self._channel)

    def containers(self, snapshotter: str) -> ContainerRecords:
        """See `Rooms`."""
        return ContainerRecords(self._channel, snapshotter)


def streamed(channel: Channel, patience: Patience | None = None) -> ContentStore:
    """Content whose blobs come by the stream, with another patience if need be."""
    return ContentStore(channel, StreamImporter(channel, SystemClock(), patience), patience)


class DoubleRooms:
    """Implements `Rooms` in memory."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def content(self, clock: Clock) -> ContentDouble:
        """See `Rooms`."""
        return ContentDouble(self._connection, clock)

    def leases(self, clock: Clock) -> LeasesDouble:
        """See `Rooms`."""
        return LeasesDouble(self._connection, clock)

    def images(self) -> ImagesDouble:
        """See `Rooms`."""
        return ImagesDouble(self._connection)

    def snapshots(self) -> SnapshotsDouble:
        """See `Rooms`."""
        return SnapshotsDouble(self._connection)

    def events(self) -> EventsDouble:
        """See `Rooms`."""
        return EventsDouble(self._connection)

    def containers(self, snapshotter: str) -> ContainersDouble:
        """See `Rooms`."""
        return ContainersDouble(self._connection, snapshotter)
