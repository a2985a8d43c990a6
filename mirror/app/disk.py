"""Room on the disks: admission, retention and eviction, wired to the rooms."""

from mirror import config
from mirror.app.rooms import Rooms
from mirror.core.admission import Admission
from mirror.core.capacity import Capacity, Marks
from mirror.core.concurrency import SharedLock
from mirror.core.evict import Evictor
from mirror.core.inventory import Inventory
from mirror.core.retention import Rules
from mirror.core.seen import Seen
from mirror.runtime.disk import HostDisk


class Space:
    """What pushes are admitted by, and what makes room for them; `pushes` is shared by those of manifests."""

    def __init__(self, settings: config.Settings, rooms: Rooms, seen: Seen) -> None:
        self.pushes = SharedLock()
        self.capacity = Capacity(HostDisk(), _marks(settings.disk), settings.journal.path)
        self.inventory = _inventory(settings, rooms)
        self.evictor = Evictor(
            inventory=self.inventory,
            images=rooms.images,
            leases=rooms.leases,
            jobs=rooms.jobs,
            grants=rooms.grants,
            usage=rooms.usage,
            seen=seen,
            capacity=self.capacity,
            rules=_rules(settings.retention),
            pushes=self.pushes,
            clock=rooms.clock,
            observer=rooms.metrics,
        )
        self.admission = Admission(self.capacity, self.evictor.want)

    def change(self, settings: config.Settings) -> None:
        """Go by other marks and rules."""
        self.capacity.marks, self.evictor.rules = _marks(settings.disk), _rules(settings.retention)


def _marks(disk: config.Disk) -> Marks:
    return Marks(reserve=disk.reserve, evict_at=disk.evict_at, evict_to=disk.evict_to)


def _rules(kept: config.Retention) -> Rules:
    return Rules(tags=kept.tags, age=kept.age, bytes=kept.bytes, untagged=kept.untagged)


def _inventory(settings: config.Settings, rooms: Rooms) -> Inventory:
    return Inventory(
        content=rooms.content,
        images=rooms.images,
        snapshots=rooms.snapshots,
        containers=rooms.containers,
        grants=rooms.grants,
        usage=rooms.usage,
        registries=frozenset(settings.upstreams),
    )
