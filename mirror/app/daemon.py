"""The use cases, wired to the rooms, and the tasks that run beside the requests."""

import platform
from collections.abc import Callable, Coroutine

import structlog

from mirror import config
from mirror.app.reconciling import make_reconciler
from mirror.app.replication import Replication
from mirror.app.rooms import Rooms, new_id
from mirror.app.workers import Wiring, make_worker
from mirror.core.discover import Discovery
from mirror.core.drain import Drain, Gate
from mirror.core.errors import StoreUnavailableError
from mirror.core.follow import Follow
from mirror.core.jobs import Backoff, Kind
from mirror.core.leases import JobLeases
from mirror.core.operate import Operator
from mirror.core.progress import Board
from mirror.core.publish import ManifestPush
from mirror.core.pull import Pull
from mirror.core.push import BlobPush
from mirror.core.registries import Registries
from mirror.core.remove import Removal
from mirror.core.replication.eager import HeadStart
from mirror.core.replication.restore import Restorer
from mirror.core.signal import Signal
from mirror.core.unpack import Unpacker
from mirror.core.watch import Watch
from mirror.core.worker import Worker
from mirror.oci.manifest import Platform

_log = structlog.get_logger(__name__)
# What `uname -m` calls a machine, in the words of OCI image configs.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}
_PROBE_EVERY = 1.0
_UNPACK_BACKOFF = Backoff(first=0.5, longest=30.0)


class Daemon:
    """The use cases, wired to the rooms, and the tasks that run beside the requests."""

    def __init__(self, settings: config.Settings, rooms: Rooms) -> None:
        self.changed = changed = Signal()
        board, gate = Board(), Gate()
        self.clock = rooms.clock
        self.breakers = rooms.breakers
        self.replication = Replication(settings, rooms, board)
        self.registries = Registries(frozenset(settings.upstreams), settings.default_upstream)
        self.blob_push = _blob_push(settings, rooms, gate, self.replication.head_start)
        self.manifest_push = _manifest_push(rooms, changed, gate)
        self.pull = Pull(content=rooms.content, images=rooms.images, grants=rooms.grants)
        self.discovery = Discovery(content=rooms.content, images=rooms.images, grants=rooms.grants)
        self.removal = Removal(
            content=rooms.content,
            images=rooms.images,
            leases=rooms.leases,
            grants=rooms.grants,
            jobs=rooms.jobs,
            clock=rooms.clock,
            changed=changed,
            followed=frozenset(name for name, upstream in settings.upstreams.items() if upstream.delete),
        )
        self.watch = Watch(jobs=rooms.jobs, board=board, clock=rooms.clock, changed=changed)
        self.follow = Follow(jobs=rooms.jobs, board=board, clock=rooms.clock, changed=changed)
        wiring = Wiring(changed, self.manifest_push.in_flight)
        self.operator = _operator(rooms, wiring)
        self.drain = Drain(
            gate=gate,
            jobs=rooms.jobs,
            in_flight=wiring.in_flight,
            hurry=rooms.hurry,
            clock=rooms.clock,
            changed=changed,
        )
        self.reconciler = make_reconciler(
            rooms,
            self.registries.names,
            blob_push=self.blob_push,
            manifest_push=self.manifest_push,
            restorer=self.replication.restorer,
            changed=changed,
        )
        self.tasks = {
            "journal": rooms.database.until_damaged,
            "sweep": self.blob_push.sweep,
            "containerd": _probing(settings, rooms),
            "reconcile": self.reconciler.watch,
            "replicate": self.replication.worker(Kind.REPLICATE, wiring).run,
            "delete": self.replication.worker(Kind.DELETE, wiring).run,
            "head start": self.replication.head_start.run,
            "unpack": _unpacking(settings, rooms, wiring, self.replication.restorer).run,
            **{f"watch {name}": self.replication.watching(name, wiring) for name in settings.upstreams},
        }


def _blob_push(settings: config.Settings, rooms: Rooms, gate: Gate, head_start: HeadStart) -> BlobPush:
    return BlobPush(
        content=rooms.content,
        leases=rooms.leases,
        uploads=rooms.uploads,
        grants=rooms.grants,
        clock=rooms.clock,
        new_id=new_id,
        max_age=settings.uploads.max_age,
        arrived=head_start.offer if settings.replication.eager else _not_at_all,
        gate=gate,
    )


def _manifest_push(rooms: Rooms, changed: Signal, gate: Gate) -> ManifestPush:
    return ManifestPush(
        content=rooms.content,
        images=rooms.images,
        leases=rooms.leases,
        grants=rooms.grants,
        jobs=rooms.jobs,
        clock=rooms.clock,
        new_id=new_id,
        changed=changed,
        gate=gate,
    )


def _operator(rooms: Rooms, wiring: Wiring) -> Operator:
    leases = JobLeases(
        jobs=rooms.jobs,
        leases=rooms.leases,
        clock=rooms.clock,
        in_flight=wiring.in_flight,
        changed=wiring.changed,
    )
    return Operator(jobs=rooms.jobs, leases=leases, hurry=rooms.hurry, changed=wiring.changed)


def _probing(settings: config.Settings, rooms: Rooms) -> Callable[[], Coroutine[None, None, None]]:
    """The task that asks containerd about itself as soon as it answers."""

    async def probe() -> None:
        while True:
            try:
                facts = await rooms.channel.probe(settings.containerd.snapshotter)
            except StoreUnavailableError as error:
                _log.warning("containerd.unavailable", reason=str(error))
                await rooms.clock.sleep(_PROBE_EVERY)
            else:
                _log.info("containerd.ready", version=facts.version)
                return

    return probe


def _unpacking(settings: config.Settings, rooms: Rooms, wiring: Wiring, restorer: Restorer) -> Worker:
    unpacker = Unpacker(content=rooms.content, grants=rooms.grants, snapshots=rooms.snapshots, platform=_this_machine())
    attempt, at_once = restorer.around(unpacker.attempt), settings.unpack.images
    return make_worker(Kind.UNPACK, attempt, rooms, wiring, backoff=_UNPACK_BACKOFF, at_once=at_once)


def _not_at_all(*_: object) -> None:
    """Without a head start, nobody is told of blobs."""


def _this_machine() -> Platform:
    machine = platform.machine()
    return Platform(os="linux", architecture=_ARCHITECTURES.get(machine, machine))
