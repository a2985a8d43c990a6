"""The composition root: opens bottom-up, runs, closes top-down. It decides nothing."""

import platform
import random
import ssl
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from aiohttp import web
from yarl import URL

from mirror import __version__, config
from mirror.containerd.channel import Channel
from mirror.containerd.content import ContentStore
from mirror.containerd.images import ImageRecords
from mirror.containerd.leases import LeaseManager
from mirror.containerd.snapshots import Snapshotter
from mirror.core.discover import Discovery
from mirror.core.drain import Drain, Gate
from mirror.core.follow import Follow
from mirror.core.jobs import Backoff, Kind
from mirror.core.leases import JobLeases
from mirror.core.operate import Operator
from mirror.core.progress import Board
from mirror.core.publish import ManifestPush
from mirror.core.pull import Pull
from mirror.core.push import BlobPush
from mirror.core.reconcile import Reconciler
from mirror.core.registries import Registries
from mirror.core.remove import Removal
from mirror.core.replicate import Replicator
from mirror.core.retract import Retractor
from mirror.core.signal import Signal
from mirror.core.unpack import Unpacker
from mirror.core.watch import Watch
from mirror.core.worker import Attempt, Worker
from mirror.http.admin import admin_application
from mirror.http.routes import UseCases, application
from mirror.http.traffic import Traffic
from mirror.journal.db import Database
from mirror.journal.grants import GrantsTable
from mirror.journal.jobs import JobsTable
from mirror.journal.uploads import UploadsTable
from mirror.oci.manifest import Platform
from mirror.runtime import supervise, systemd
from mirror.runtime.clock import SystemClock
from mirror.upstream.client import RegistryClient
from mirror.upstream.transport import Credentials, Transport

_log = structlog.get_logger(__name__)

# What `uname -m` calls a machine, in the words of OCI image configs.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}
_READ_BUFFER = 256 * 1024
_CANCELLED_WITHIN = 1.0
_UNPACK_BACKOFF = Backoff(first=0.5, longest=30.0)


async def serve(settings: config.Settings) -> None:
    """Run the daemon until it is told to stop.

    Raises:
        JournalError, OSError: it could not start.
        ExceptionGroup: one of its tasks crashed.
    """
    async with AsyncExitStack() as stack:
        rooms = await Rooms.open(settings, stack)
        daemon = Daemon(settings, rooms)
        stack.push_async_callback(daemon.blob_push.close)
        async with _listening(settings, daemon), supervise.background(daemon.tasks):
            systemd.notify("READY=1")
            _log.info("daemon.ready", version=__version__, listen=settings.http.listen)
            await supervise.until_told_to_stop()
            systemd.notify("STOPPING=1")
            _log.info("daemon.stopping")
    _log.info("daemon.stopped")


class Rooms:
    """What the rules work with: containerd, the journal and the upstreams, open and ready."""

    def __init__(self, settings: config.Settings, database: Database, upstreams: dict[str, RegistryClient]) -> None:
        self.clock = SystemClock()
        self.random = random.SystemRandom()
        self.channel = Channel(settings.containerd.address, settings.containerd.namespace)
        self.content = ContentStore(self.channel, self.clock)
        self.images = ImageRecords(self.channel)
        self.leases = LeaseManager(self.channel, self.clock)
        self.snapshots = Snapshotter(self.channel, self.content, self.leases, settings.containerd.snapshotter)
        self.grants = GrantsTable(database)
        self.uploads = UploadsTable(database)
        self.jobs = JobsTable(database)
        self.upstreams = upstreams

    @classmethod
    async def open(cls, settings: config.Settings, stack: AsyncExitStack) -> "Rooms":
        """Open the journal, the upstreams' connection pools and the channel to containerd; `stack` closes them."""
        database = await stack.enter_async_context(Database(settings.journal.path))
        upstreams = {
            name: RegistryClient(await stack.enter_async_context(_transport(upstream)))
            for name, upstream in settings.upstreams.items()
        }
        rooms = cls(settings, database, upstreams)
        stack.push_async_callback(rooms.channel.close)
        return rooms


class Daemon:
    """The use cases, wired to the rooms, and the tasks that run beside the requests."""

    def __init__(self, settings: config.Settings, rooms: Rooms) -> None:
        self.changed = changed = Signal()
        board, gate = Board(), Gate()
        self.clock = rooms.clock
        self.registries = Registries(frozenset(settings.upstreams), settings.default_upstream)
        self.blob_push = _blob_push(settings, rooms, gate)
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
        wiring = _Wiring(changed, self.manifest_push.in_flight)
        self.operator = _operator(rooms, wiring)
        self.drain = Drain(gate=gate, jobs=rooms.jobs, in_flight=wiring.in_flight, clock=rooms.clock, changed=changed)
        self.tasks = {
            "sweep": self.blob_push.sweep,
            "reconcile": _reconciler(settings, rooms, self.manifest_push).run,
            "replicate": _replication(settings, rooms, wiring).run,
            "unpack": _unpacking(settings, rooms, wiring).run,
            "delete": _retraction(settings, rooms, wiring).run,
        }


@dataclass(frozen=True, slots=True)
class _Wiring:
    """What the workers share with the pushes."""

    changed: Signal
    in_flight: Callable[[], frozenset[str]]


def _blob_push(settings: config.Settings, rooms: Rooms, gate: Gate) -> BlobPush:
    return BlobPush(
        content=rooms.content,
        leases=rooms.leases,
        uploads=rooms.uploads,
        grants=rooms.grants,
        clock=rooms.clock,
        new_id=_new_id,
        max_age=settings.uploads.max_age,
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
        new_id=_new_id,
        changed=changed,
        gate=gate,
    )


def _operator(rooms: Rooms, wiring: _Wiring) -> Operator:
    leases = JobLeases(
        jobs=rooms.jobs,
        leases=rooms.leases,
        clock=rooms.clock,
        in_flight=wiring.in_flight,
        changed=wiring.changed,
    )
    return Operator(jobs=rooms.jobs, leases=leases, changed=wiring.changed)


def _reconciler(settings: config.Settings, rooms: Rooms, manifest_push: ManifestPush) -> Reconciler:
    return Reconciler(
        probe=lambda: rooms.channel.probe(settings.containerd.snapshotter),
        leases=rooms.leases,
        jobs=rooms.jobs,
        in_flight=manifest_push.in_flight,
        clock=rooms.clock,
    )


def _replication(settings: config.Settings, rooms: Rooms, wiring: _Wiring) -> Worker:
    limits = settings.replication
    replicator = Replicator(
        content=rooms.content,
        grants=rooms.grants,
        jobs=rooms.jobs,
        upstreams=rooms.upstreams,
        at_once=limits.blobs,
    )
    backoff = Backoff(limits.backoff_first, limits.backoff_max)
    return _worker(Kind.REPLICATE, replicator.attempt, rooms, wiring, backoff=backoff, at_once=limits.jobs)


def _retraction(settings: config.Settings, rooms: Rooms, wiring: _Wiring) -> Worker:
    limits = settings.replication
    backoff = Backoff(limits.backoff_first, limits.backoff_max)
    attempt = Retractor(jobs=rooms.jobs, upstreams=rooms.upstreams).attempt
    return _worker(Kind.DELETE, attempt, rooms, wiring, backoff=backoff, at_once=limits.jobs)


def _unpacking(settings: config.Settings, rooms: Rooms, wiring: _Wiring) -> Worker:
    unpacker = Unpacker(content=rooms.content, grants=rooms.grants, snapshots=rooms.snapshots, platform=_this_machine())
    at_once = settings.unpack.images
    return _worker(Kind.UNPACK, unpacker.attempt, rooms, wiring, backoff=_UNPACK_BACKOFF, at_once=at_once)


def _worker(kind: Kind, attempt: Attempt, rooms: Rooms, wiring: _Wiring, *, backoff: Backoff, at_once: int) -> Worker:
    return Worker(
        kind,
        attempt,
        jobs=rooms.jobs,
        leases=rooms.leases,
        clock=rooms.clock,
        random=rooms.random,
        backoff=backoff,
        at_once=at_once,
        in_flight=wiring.in_flight,
        changed=wiring.changed,
    )


@asynccontextmanager
async def _listening(settings: config.Settings, daemon: Daemon) -> AsyncIterator[None]:
    """Serve operators and builders; on the way out, stop accepting and let requests in flight finish.

    Those that only wait for something to happen are answered at once with what there is.
    """
    traffic = Traffic()
    admin = admin_application(
        watch=daemon.watch,
        follow=daemon.follow,
        operator=daemon.operator,
        drain=daemon.drain,
        registries=daemon.registries,
        clock=daemon.clock,
    )
    public = application(
        UseCases(
            blob_push=daemon.blob_push,
            manifest_push=daemon.manifest_push,
            pull=daemon.pull,
            discovery=daemon.discovery,
            removal=daemon.removal,
            watch=daemon.watch,
            follow=daemon.follow,
        ),
        registries=daemon.registries,
        catalog=settings.http.catalog,
        idle=settings.http.idle,
        traffic=traffic,
        clock=daemon.clock,
    )
    # An operator who goes away takes his question with him; what a builder began is finished all the same.
    async with _running(admin, handler_cancellation=True) as admin_runner, _running(public) as public_runner:
        await web.UnixSite(admin_runner, _fresh_socket(settings.admin.socket)).start()
        site = web.TCPSite(public_runner, *settings.http.address)
        await site.start()
        yield
        daemon.changed.close()
        await site.stop()
        await daemon.clock.wait(traffic.idle, settings.shutdown.deadline)


@asynccontextmanager
async def _running(app: web.Application, *, handler_cancellation: bool = False) -> AsyncIterator[web.AppRunner]:
    runner = web.AppRunner(
        app,
        access_log=None,  # the middleware writes the one line per request
        auto_decompress=False,  # what is pushed is what is stored, whatever Content-Encoding it claims
        handle_signals=False,
        handler_cancellation=handler_cancellation,
        read_bufsize=_READ_BUFFER,
        shutdown_timeout=_CANCELLED_WITHIN,
    )
    await runner.setup()
    try:
        yield runner
    finally:
        await runner.cleanup()


def _fresh_socket(path: Path) -> str:
    """Make way for the admin socket: one that is still there is left over from a daemon that was killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return str(path)


def _transport(upstream: config.Upstream) -> Transport:
    credentials = None
    if upstream.username is not None and upstream.password_file is not None:
        credentials = Credentials(upstream.username, upstream.password_file.read_text().strip())
    tls = ssl.create_default_context(cafile=upstream.ca_file) if upstream.ca_file else None
    return Transport(URL(upstream.url), credentials=credentials, tls=tls)


def _this_machine() -> Platform:
    machine = platform.machine()
    return Platform(os="linux", architecture=_ARCHITECTURES.get(machine, machine))


def _new_id() -> str:
    return uuid.uuid4().hex
