"""The composition root: opens bottom-up, runs, closes top-down. It decides nothing."""

import platform
import random
import ssl
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
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
from mirror.core.errors import UpstreamError
from mirror.core.follow import Follow
from mirror.core.jobs import Backoff, Kind
from mirror.core.leases import JobLeases
from mirror.core.operate import Operator
from mirror.core.outlast import outlast
from mirror.core.progress import Board
from mirror.core.publish import ManifestPush
from mirror.core.pull import Pull
from mirror.core.push import BlobPush
from mirror.core.reconcile import Reconciler
from mirror.core.registries import Registries
from mirror.core.remove import Removal
from mirror.core.replication.breaker import Breaker
from mirror.core.replication.carrier import Carrier
from mirror.core.replication.eager import HeadStart
from mirror.core.replication.fallback import FallbackTags
from mirror.core.replication.pace import Pace, Throttle
from mirror.core.replication.replicator import Replicator
from mirror.core.replication.restore import Restorer
from mirror.core.replication.retract import Retractor
from mirror.core.replication.turns import Turns
from mirror.core.signal import Signal
from mirror.core.unpack import Unpacker
from mirror.core.watch import Watch
from mirror.core.worker import Attempt, UpstreamLimits, Worker
from mirror.http.admin import admin_application
from mirror.http.routes import UseCases, application
from mirror.http.traffic import Traffic
from mirror.journal.db import Database
from mirror.journal.grants import GrantsTable
from mirror.journal.jobs import JobsTable
from mirror.journal.transfers import TransfersTable
from mirror.journal.uploads import UploadsTable
from mirror.oci.manifest import Platform
from mirror.runtime import supervise, systemd
from mirror.runtime.clock import SystemClock
from mirror.upstream.client import RegistryClient
from mirror.upstream.credentials import DockerConfig, PasswordFile, TokenFile
from mirror.upstream.tls import tls_context
from mirror.upstream.transport import Proxy, Transport

_log = structlog.get_logger(__name__)

# What `uname -m` calls a machine, in the words of OCI image configs.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}
_READ_BUFFER = 256 * 1024
_CANCELLED_WITHIN = 1.0
_UNPACK_BACKOFF = Backoff(first=0.5, longest=30.0)


async def serve(settings: config.Settings) -> None:
    """Run the daemon until it is told to stop.

    Raises:
        SettingsError: a file that an upstream's settings name cannot be used.
        JournalError, JournalUnavailableError, OSError: it could not start.
        ExceptionGroup: one of its tasks crashed, or the journal turned out to be damaged.
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

    def __init__(self, settings: config.Settings, database: Database) -> None:
        self.clock = SystemClock()
        self.random = random.SystemRandom()
        self.database = database
        self.channel = Channel(settings.containerd.address, settings.containerd.namespace)
        self.content = ContentStore(self.channel, self.clock)
        self.images = ImageRecords(self.channel)
        self.leases = LeaseManager(self.channel, self.clock)
        self.snapshots = Snapshotter(self.channel, self.content, self.leases, settings.containerd.snapshotter)
        self.grants = GrantsTable(database)
        self.uploads = UploadsTable(database)
        self.jobs = JobsTable(database)
        self.transfers = TransfersTable(database)
        self.breakers = {name: self._breaker(settings) for name in settings.upstreams}
        self.upstreams: dict[str, RegistryClient] = {}

    @classmethod
    async def open(cls, settings: config.Settings, stack: AsyncExitStack) -> "Rooms":
        """Open the journal, the channel to containerd and the upstreams' connection pools; `stack` closes them."""
        database = await stack.enter_async_context(Database(settings.journal.path))
        rooms = cls(settings, database)
        stack.push_async_callback(rooms.channel.close)
        for name, upstream in settings.upstreams.items():
            transport = rooms.transport(name, upstream, settings.replication.stall)
            rooms.upstreams[name] = RegistryClient(await stack.enter_async_context(transport))
        return rooms

    def transport(self, name: str, upstream: config.Upstream, stall: float) -> Transport:
        """The way to an upstream. Raises SettingsError when a file that its settings name cannot be used."""
        tls, credentials, proxy = _connection(name, upstream)
        return Transport(
            URL(upstream.url),
            credentials=credentials,
            tls=tls,
            proxy=proxy,
            clock=self.clock,
            breaker=self.breakers[name],
            stall=stall,
        )

    def _breaker(self, settings: config.Settings) -> Breaker:
        return Breaker(clock=self.clock, random=self.random, backoff=_backoff(settings))

    def away(self) -> frozenset[str]:
        """The registries whose upstreams are away just now."""
        return frozenset(name for name, breaker in self.breakers.items() if breaker.is_open)


class Daemon:
    """The use cases, wired to the rooms, and the tasks that run beside the requests."""

    def __init__(self, settings: config.Settings, rooms: Rooms) -> None:
        self.changed = changed = Signal()
        board, gate = Board(), Gate()
        self.clock = rooms.clock
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
        wiring = _Wiring(changed, self.manifest_push.in_flight)
        self.operator = _operator(rooms, wiring)
        self.drain = Drain(gate=gate, jobs=rooms.jobs, in_flight=wiring.in_flight, clock=rooms.clock, changed=changed)
        self.tasks = {
            "journal": rooms.database.until_damaged,
            "sweep": self.blob_push.sweep,
            "reconcile": _reconciler(settings, rooms, self.manifest_push).run,
            "replicate": self.replication.worker(Kind.REPLICATE, wiring).run,
            "delete": self.replication.worker(Kind.DELETE, wiring).run,
            "head start": self.replication.head_start.run,
            "unpack": _unpacking(settings, rooms, wiring, self.replication.restorer).run,
            **{f"watch {name}": self.replication.watching(name, wiring) for name in settings.upstreams},
        }


@dataclass(frozen=True, slots=True)
class _Wiring:
    """What the workers share with the pushes."""

    changed: Signal
    in_flight: Callable[[], frozenset[str]]


def _blob_push(settings: config.Settings, rooms: Rooms, gate: Gate, head_start: HeadStart) -> BlobPush:
    return BlobPush(
        content=rooms.content,
        leases=rooms.leases,
        uploads=rooms.uploads,
        grants=rooms.grants,
        clock=rooms.clock,
        new_id=_new_id,
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


class Replication:
    """Everything on the way to the upstreams."""

    def __init__(self, settings: config.Settings, rooms: Rooms, board: Board) -> None:
        self._settings = settings
        self._rooms = rooms
        self._pace = Pace(rooms.clock, settings.replication.rate or None)
        carriers = {name: self._carrier(name, upstream) for name, upstream in settings.upstreams.items()}
        fallback = FallbackTags()
        self.head_start = HeadStart(carriers, rooms.clock)
        self.restorer = Restorer(
            content=rooms.content,
            leases=rooms.leases,
            grants=rooms.grants,
            upstreams=rooms.upstreams,
            new_id=_new_id,
        )
        replicator = Replicator(
            content=rooms.content,
            grants=rooms.grants,
            jobs=rooms.jobs,
            upstreams=rooms.upstreams,
            carriers=carriers,
            fallback=fallback,
            board=board,
        )
        self._attempts = {
            Kind.REPLICATE: self.restorer.around(replicator.attempt),
            Kind.DELETE: Retractor(jobs=rooms.jobs, upstreams=rooms.upstreams, fallback=fallback).attempt,
        }

    def _carrier(self, name: str, upstream: config.Upstream) -> Carrier:
        return Carrier(
            self._rooms.upstreams[name],
            content=self._rooms.content,
            transfers=self._rooms.transfers,
            clock=self._rooms.clock,
            turns=Turns(self._settings.replication.blobs),
            throttle=Throttle(self._pace, Pace(self._rooms.clock, upstream.rate or None)),
        )

    def worker(self, kind: Kind, wiring: "_Wiring") -> Worker:
        """The loop over one kind of task that ends at an upstream."""
        jobs = self._settings.replication.jobs
        limits = UpstreamLimits(jobs, self._rooms.away, newest_first=kind is Kind.REPLICATE)
        backoff, at_once = _backoff(self._settings), jobs * len(self._rooms.upstreams)
        return _worker(
            kind, self._attempts[kind], self._rooms, wiring, backoff=backoff, at_once=at_once, upstreams=limits
        )

    def watching(self, name: str, wiring: "_Wiring") -> Callable[[], Coroutine[None, None, None]]:
        """The task that probes an upstream while it is away."""

        async def back(was_away: bool) -> None:  # noqa: FBT001 - the one thing that there is to say
            if was_away:
                await outlast(self._rooms.clock, lambda: self._rooms.jobs.hurry(name))
            wiring.changed.fire()

        return partial(self._rooms.breakers[name].watch, self._rooms.upstreams[name].probe, back)


def _unpacking(settings: config.Settings, rooms: Rooms, wiring: _Wiring, restorer: Restorer) -> Worker:
    unpacker = Unpacker(content=rooms.content, grants=rooms.grants, snapshots=rooms.snapshots, platform=_this_machine())
    attempt, at_once = restorer.around(unpacker.attempt), settings.unpack.images
    return _worker(Kind.UNPACK, attempt, rooms, wiring, backoff=_UNPACK_BACKOFF, at_once=at_once)


def _worker(
    kind: Kind,
    attempt: Attempt,
    rooms: Rooms,
    wiring: _Wiring,
    *,
    backoff: Backoff,
    at_once: int,
    upstreams: UpstreamLimits | None = None,
) -> Worker:
    return Worker(
        kind,
        attempt,
        jobs=rooms.jobs,
        leases=rooms.leases,
        clock=rooms.clock,
        random=rooms.random,
        backoff=backoff,
        at_once=at_once,
        upstreams=upstreams,
        in_flight=wiring.in_flight,
        changed=wiring.changed,
    )


def _backoff(settings: config.Settings) -> Backoff:
    return Backoff(settings.replication.backoff_first, settings.replication.backoff_max)


def _not_at_all(*_: object) -> None:
    """Without a head start, nobody is told of blobs."""


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


_Secrets = PasswordFile | TokenFile | DockerConfig


def _connection(name: str, upstream: config.Upstream) -> tuple[ssl.SSLContext | None, _Secrets | None, Proxy | None]:
    """TLS, credentials and the proxy for an upstream. Raises SettingsError when a file of theirs cannot be used."""
    try:
        tls = _tls(upstream)
        credentials, proxy = _credentials(name, upstream), _proxy(upstream)
        for source in (credentials, proxy and proxy.login):
            if source:
                source.check()
    except (UpstreamError, ValueError) as error:
        raise config.SettingsError(f"upstreams.{name}: {error}") from error
    return tls, credentials, proxy


def _tls(upstream: config.Upstream) -> ssl.SSLContext | None:
    if upstream.ca_file is None and upstream.client_cert is None:
        return None
    return tls_context(upstream.ca_file, upstream.client_cert, upstream.client_key)


def _credentials(name: str, upstream: config.Upstream) -> _Secrets | None:
    if upstream.username is not None and upstream.password_file is not None:
        return PasswordFile(upstream.username, upstream.password_file)
    if upstream.token_file is not None:
        return TokenFile(upstream.token_file)
    if upstream.docker_config is not None:
        return DockerConfig(upstream.docker_config, (URL(upstream.url).host_port_subcomponent or "", name))
    return None


def _proxy(upstream: config.Upstream) -> Proxy | None:
    if upstream.proxy is None:
        return None
    login = None
    if upstream.proxy_username is not None and upstream.proxy_password_file is not None:
        login = PasswordFile(upstream.proxy_username, upstream.proxy_password_file)
    return Proxy(URL(upstream.proxy), login)


def _this_machine() -> Platform:
    machine = platform.machine()
    return Platform(os="linux", architecture=_ARCHITECTURES.get(machine, machine))


def _new_id() -> str:
    return uuid.uuid4().hex
