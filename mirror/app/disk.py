"""Room on the disks: admission, retention and eviction, wired to the rooms."""

from mirror import config
from mirror.app.rooms import Rooms, new_id
from mirror.core.admission import Admission
from mirror.core.asked import Asked
from mirror.core.capacity import Capacity, Marks
from mirror.core.concurrency import SharedLock
from mirror.core.evict import Evictor
from mirror.core.inventory import Inventory
from mirror.core.ports import StoreFacts
from mirror.core.retention import Rules
from mirror.runtime.disk import HostDisk


class Space:
    """What pushes are admitted by, and what makes room for them; `pushes` is shared by those of manifests."""

    def __init__(self, settings: config.Settings, rooms: Rooms) -> None:
        self._channel, self._snapshotter = rooms.channel, settings.containerd.snapshotter
        disk, kept = settings.disk, settings.retention
        marks = Marks(reserve=disk.reserve, evict_at=disk.evict_at, evict_to=disk.evict_to)
        self.pushes = SharedLock()
        self.asked = Asked(rooms.clock)
        self.capacity = Capacity(HostDisk(), marks, settings.journal.path)
        self.evictor = Evictor(
            inventory=_inventory(settings, rooms),
            images=rooms.images,
            leases=rooms.leases,
            jobs=rooms.jobs,
            grants=rooms.grants,
            usage=rooms.usage,
            asked=self.asked,
            capacity=self.capacity,
            rules=Rules(tags=kept.tags, age=kept.age, bytes=kept.bytes, untagged=kept.untagged),
            pushes=self.pushes,
            clock=rooms.clock,
            new_id=new_id,
        )
        self.admission = Admission(self.capacity, self.evictor.want)

    async def probe(self) -> StoreFacts:
        """Ask containerd about itself, and learn where its disks are. Raises as `Channel.probe`."""
        facts = await self._channel.probe(self._snapshotter)
        self.capacity.learn(facts)
        return facts


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
