"""The use cases, wired to the rooms, and the tasks that run beside the requests."""

import platform
from collections.abc import Callable, Coroutine
from functools import partial

from mirror import config
from mirror.app.disk import Space
from mirror.app.pulling import Pulling
from mirror.app.reconciling import make_reconciler
from mirror.app.replication import Replication
from mirror.app.rooms import Rooms, new_id
from mirror.app.variants import Variants
from mirror.app.verification import make_verification
from mirror.app.workers import Wiring, make_worker
from mirror.core.discover import Discovery
from mirror.core.drain import Drain, Gate
from mirror.core.failures import Failures
from mirror.core.follow import Follow
from mirror.core.isolation import Isolation
from mirror.core.jobs import Backoff, Kind
from mirror.core.leases import JobLeases
from mirror.core.listing import Listing
from mirror.core.operate import Operator
from mirror.core.outlast import outlast
from mirror.core.ports import StoreFacts
from mirror.core.presence import Presence
from mirror.core.progress import Board
from mirror.core.publish import Coming, ManifestPush
from mirror.core.pull import Pull
from mirror.core.push import BlobPush, Lend, UploadLimits
from mirror.core.readiness import Readiness
from mirror.core.registries import Registries
from mirror.core.remove import Removal
from mirror.core.replication.eager import HeadStart
from mirror.core.seen import Seen
from mirror.core.signal import Signal
from mirror.core.timeline import Arrivals
from mirror.core.unpack import Unpacker
from mirror.core.usage import Uses
from mirror.core.watch import Watch
from mirror.core.worker import Worker
from mirror.oci.platforms import parse_platform
from mirror.runtime.lag import measure

_UNPACK_BACKOFF = Backoff(first=0.5, longest=30.0)


class Daemon:
    """The use cases, wired to the rooms, and the tasks that run beside the requests."""

    def __init__(self, settings: config.Settings, rooms: Rooms) -> None:
        self.changed = changed = Signal()
        self.board = board = Board()
        gate, arrivals = Gate(), Arrivals()
        self.clock = rooms.clock
        self._rooms = rooms
        self.metrics = rooms.metrics
        self.tracer = rooms.tracer
        self.breakers = rooms.breakers
        self.replication = Replication(settings, rooms, board)
        self.registries = Registries(frozenset(settings.upstreams), settings.default_upstream)
        seen = Seen(leases=rooms.leases, clock=rooms.clock, new_id=new_id)
        self.space = Space(settings, rooms, seen)
        self.pulling = Pulling(settings, rooms, _pull(rooms, seen), self.space.admission)
        lend = self.pulling.borrower.borrow
        self.blob_push = _blob_push(settings, rooms, gate, self.replication.head_start, self.space, lend, arrivals)
        settle = self.pulling.borrower.settle
        self.manifest_push = _manifest_push(settings, rooms, changed, gate, self.space, settle, arrivals)
        self.variants = Variants(settings, rooms, self.space, board, blobs=self.blob_push, manifests=self.manifest_push)
        self.discovery = Discovery(content=rooms.content, images=rooms.images, grants=rooms.grants)
        self.removal = _removal(settings, rooms, changed, self.space)
        self.watch = Watch(jobs=rooms.jobs, board=board, clock=rooms.clock, changed=changed)
        self.follow = Follow(jobs=rooms.jobs, board=board, clock=rooms.clock, changed=changed)
        self.failures = Failures(rooms.clock)
        self.importers = rooms.importers
        wiring = Wiring(changed, self.manifest_push.in_flight, self.failures)
        self.listing = _listing(settings, rooms, self.space, board)
        self.operator = _operator(rooms, board, wiring, self.variants.converter.cancel)
        self.drain = _drain(rooms, gate, wiring)
        self.presence = _presence(rooms, self.space, changed)
        self.readiness = self._readiness(rooms, gate)
        self.reconciler = make_reconciler(
            rooms,
            self.registries.names,
            blob_push=self.blob_push,
            manifest_push=self.manifest_push,
            restorer=self.replication.restorer,
            fetcher=self.pulling.fetcher,
            changed=changed,
        )
        self.tasks = self._tasks(settings, rooms, wiring, board)

    def change(self, old: config.Settings, new: config.Settings) -> Callable[[], None]:
        """Get ready for other settings; what is returned goes over to them."""
        verification = make_verification(new.verify, self._rooms.grants) if new.verify != old.verify else None

        def apply() -> None:
            self.blob_push.limit(_upload_limits(new))
            self.manifest_push.isolation = _isolation(new, self._rooms)
            if new.verify != old.verify:
                self.manifest_push.verification = verification
            self.pulling.change(new)
            self.replication.change(old, new)
            self.space.change(new)
            self.variants.change(new)
            self.listing.rules = self.space.evictor.rules

        return apply

    def _readiness(self, rooms: Rooms, gate: Gate) -> Readiness:
        return Readiness(
            [
                lambda: self.presence.reason,
                lambda: rooms.importers.reason,
                gate.reason,
                lambda: self.space.evictor.reason,
            ]
        )

    def _tasks(
        self, settings: config.Settings, rooms: Rooms, wiring: Wiring, board: Board
    ) -> dict[str, Callable[[], Coroutine[None, None, None]]]:
        return {
            "containerd": self.presence.watch,
            "journal": rooms.database.until_damaged,
            "lag": partial(measure, rooms.metrics.lagged),
            "sweep": self.blob_push.sweep,
            "reconcile": self.reconciler.watch,
            "evict": self.space.evictor.run,
            "replicate": self.replication.worker(Kind.REPLICATE, wiring).run,
            "replicate variants": self.replication.worker(Kind.REPLICATE, wiring, gives_way=True).run,
            "delete": self.replication.worker(Kind.DELETE, wiring).run,
            "head start": self.replication.head_start.run,
            "fetch": self.pulling.fetcher.run,
            "borrow": self.pulling.borrower.run,
            "keep": partial(self.pulling.keeper.run, self.manifest_push.keep),
            "variants": partial(self.variants.run, wiring),
            "unpack": self._unpacking(settings, rooms, wiring, board).run,
            **{f"watch {name}": self.replication.watching(name, wiring) for name in settings.upstreams},
        }

    def _unpacking(self, settings: config.Settings, rooms: Rooms, wiring: Wiring, board: Board) -> Worker:
        names = settings.unpack.platforms or [f"linux/{platform.machine()}"]
        unpacker = Unpacker(
            content=rooms.content,
            grants=rooms.grants,
            snapshots=rooms.snapshots,
            platforms=[parse_platform(name) for name in names],
            board=board,
            tracer=rooms.tracer,
        )
        attempt = self.space.evictor.around(self.replication.restorer.around(unpacker.attempt))
        at_once = settings.unpack.images
        return make_worker(Kind.UNPACK, attempt, rooms, wiring, backoff=_UNPACK_BACKOFF, at_once=at_once)


def _blob_push(
    settings: config.Settings,
    rooms: Rooms,
    gate: Gate,
    head_start: HeadStart,
    space: Space,
    lend: Lend,
    arrivals: Arrivals,
) -> BlobPush:
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
        admission=space.admission,
        limits=_upload_limits(settings),
        lend=lend,
        arrivals=arrivals,
        observer=rooms.metrics,
        tracer=rooms.tracer,
    )


def _upload_limits(settings: config.Settings) -> UploadLimits:
    each = settings.callers
    return UploadLimits(each.uploads, each.sessions, settings.http.blob, settings.tenants.bytes)


def _pull(rooms: Rooms, seen: Seen) -> Pull:
    uses = Uses(rooms.usage, rooms.clock)
    return Pull(content=rooms.content, images=rooms.images, grants=rooms.grants, uses=uses, seen=seen)


def _manifest_push(
    settings: config.Settings,
    rooms: Rooms,
    changed: Signal,
    gate: Gate,
    space: Space,
    coming: Coming,
    arrivals: Arrivals,
) -> ManifestPush:
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
        admission=space.admission,
        evictions=space.pushes,
        isolation=_isolation(settings, rooms),
        verification=make_verification(settings.verify, rooms.grants),
        coming=coming,
        arrivals=arrivals,
        observer=rooms.metrics,
        tracer=rooms.tracer,
    )


def _isolation(settings: config.Settings, rooms: Rooms) -> Isolation | None:
    return None if settings.is_open else Isolation(rooms.content, rooms.grants, rooms.snapshots)


def _removal(settings: config.Settings, rooms: Rooms, changed: Signal, space: Space) -> Removal:
    return Removal(
        content=rooms.content,
        images=rooms.images,
        leases=rooms.leases,
        grants=rooms.grants,
        jobs=rooms.jobs,
        clock=rooms.clock,
        changed=changed,
        followed=frozenset(name for name, upstream in settings.upstreams.items() if upstream.delete),
        pushes=space.pushes,
    )


def _drain(rooms: Rooms, gate: Gate, wiring: Wiring) -> Drain:
    return Drain(
        gate=gate,
        jobs=rooms.jobs,
        in_flight=wiring.in_flight,
        hurry=rooms.hurry,
        clock=rooms.clock,
        changed=wiring.changed,
    )


def _listing(settings: config.Settings, rooms: Rooms, space: Space, board: Board) -> Listing:
    return Listing(
        inventory=space.inventory,
        jobs=rooms.jobs,
        board=board,
        rules=space.evictor.rules,
        clock=rooms.clock,
        default=settings.default_upstream,
    )


def _operator(rooms: Rooms, board: Board, wiring: Wiring, stop: Callable[[int, str], bool]) -> Operator:
    leases = JobLeases(
        jobs=rooms.jobs,
        leases=rooms.leases,
        clock=rooms.clock,
        in_flight=wiring.in_flight,
        changed=wiring.changed,
    )
    return Operator(jobs=rooms.jobs, leases=leases, board=board, hurry=rooms.hurry, stop=stop, changed=wiring.changed)


def _presence(rooms: Rooms, space: Space, changed: Signal) -> Presence:
    async def found(facts: StoreFacts) -> None:
        space.capacity.learn(facts)
        rooms.files.learn(facts)
        await rooms.importers.choose(facts)

    async def back() -> None:
        """What failed for want of containerd is tried again at once."""
        rooms.channel.resume()
        await outlast(rooms.clock, lambda: rooms.jobs.hurry(None))
        changed.fire()

    return Presence(rooms.probe, rooms.clock, found=found, lost=rooms.channel.suspend, back=back)


def _not_at_all(*_: object) -> None:
    """Without a head start, nobody is told of blobs."""
