"""What the rules work with, opened bottom-up: the journal, containerd, and the ways to the upstreams."""

import random
import uuid
from contextlib import AsyncExitStack
from functools import partial

from yarl import URL

from mirror import config
from mirror.app.connection import connection
from mirror.app.tracing import tracing
from mirror.containerd.channel import Channel
from mirror.containerd.containers import ContainerRecords
from mirror.containerd.content import ContentStore
from mirror.containerd.events import EventStream
from mirror.containerd.files import ContentFiles
from mirror.containerd.images import ImageRecords
from mirror.containerd.importer import Importers
from mirror.containerd.leases import LeaseManager
from mirror.containerd.probe import Probe
from mirror.containerd.replacement import ContentReplacement
from mirror.containerd.snapshots import Snapshotter
from mirror.containerd.stream import StreamImporter
from mirror.containerd.timing import Timing
from mirror.core.jobs import Backoff
from mirror.core.ports import Tracer
from mirror.core.replication.breaker import Breaker
from mirror.journal.conversions import ConversionsTable
from mirror.journal.db import Database
from mirror.journal.grants import GrantsTable
from mirror.journal.jobs import JobsTable
from mirror.journal.transfers import TransfersTable
from mirror.journal.uploads import UploadsTable
from mirror.journal.usage import UsageTable
from mirror.metrics.meters import Meters
from mirror.recompress.process import ProcessRecompressor
from mirror.runtime.clock import SystemClock
from mirror.runtime.scratch import ScratchDirectory
from mirror.upstream.client import RegistryClient
from mirror.upstream.timing import timing
from mirror.upstream.transport import Transport

_LONGEST_BETWEEN_PROBES = 30.0


class Rooms:
    """What the rules work with: containerd, the journal and the upstreams, open and ready."""

    def __init__(self, settings: config.Settings, database: Database, tracer: Tracer) -> None:
        self.clock = SystemClock()
        self.random = random.SystemRandom()
        self.database = database
        self.metrics = Meters()
        self.tracer = tracer
        self.channel = Channel(
            settings.containerd.address,
            settings.containerd.namespace,
            interceptors=[Timing(self.metrics.called, self.clock, tracer)],
            tracer=tracer,
        )
        self.probe = Probe(self.channel, settings.containerd.snapshotter)
        self.files = ContentFiles()
        self.leases = LeaseManager(self.channel, self.clock)
        self.importers = Importers(self.channel, self.clock, self.leases, settings.containerd.importer)
        self.content = ContentStore(self.channel, self.importers, files=self.files)
        self.recompressor = ProcessRecompressor(self.content, settings.variants.threads)
        self.images = ImageRecords(self.channel, settings.containerd.image_labels)
        self.snapshots = Snapshotter(self.channel, self.content, self.leases, settings.containerd.snapshotter)
        self.containers = ContainerRecords(self.channel, settings.containerd.snapshotter)
        self.replacement = ContentReplacement(self.content, StreamImporter(self.channel, self.clock), self.leases)
        self.events = EventStream(self.channel)
        self.grants = GrantsTable(database)
        self.uploads = UploadsTable(database)
        self.jobs = JobsTable(database)
        self.transfers = TransfersTable(database)
        self.usage = UsageTable(database)
        self.conversions = ConversionsTable(database)
        self.scratch = ScratchDirectory(settings.journal.path.parent)
        self.breakers = {name: self._breaker(settings, name) for name in settings.upstreams}
        self.upstreams: dict[str, RegistryClient] = {}

    @classmethod
    async def open(cls, settings: config.Settings, stack: AsyncExitStack) -> "Rooms":
        """Open the journal, the channel to containerd and the upstreams' connection pools; `stack` closes them."""
        tracer = stack.enter_context(tracing(settings.tracing))
        database = await stack.enter_async_context(Database(settings.journal.path))
        rooms = cls(settings, database, tracer)
        stack.push_async_callback(rooms.channel.close)
        for name, upstream in settings.upstreams.items():
            transport = rooms.transport(name, upstream, settings.replication.stall)
            rooms.upstreams[name] = RegistryClient(
                await stack.enter_async_context(transport), upstream.pull.patience if upstream.pull else None
            )
        return rooms

    def transport(self, name: str, upstream: config.Upstream, stall: float) -> Transport:
        """The way to an upstream. Raises SettingsError when a file that its settings name cannot be used."""
        tls, credentials, proxy = connection(name, upstream)
        return Transport(
            URL(upstream.url),
            credentials=credentials,
            tls=tls,
            proxy=proxy,
            clock=self.clock,
            breaker=self.breakers[name],
            stall=stall,
            traces=[timing(partial(self.metrics.asked, name), self.clock, self.tracer, URL(upstream.url))],
        )

    def _breaker(self, settings: config.Settings, name: str) -> Breaker:
        limits = settings.replication
        backoff = Backoff(limits.backoff_first, min(limits.backoff_max, _LONGEST_BETWEEN_PROBES))
        return Breaker(clock=self.clock, random=self.random, backoff=backoff, name=name)

    def hurry(self) -> None:
        """Ask the upstreams that are away at once whether they are back."""
        for breaker in self.breakers.values():
            breaker.hurry()

    def away(self) -> frozenset[str]:
        """The registries whose upstreams are away just now."""
        return frozenset(name for name, breaker in self.breakers.items() if breaker.is_open)


def backoff_of(settings: config.Settings) -> Backoff:
    """How long to wait between attempts at an upstream."""
    return Backoff(settings.replication.backoff_first, settings.replication.backoff_max)


def new_id() -> str:
    """A name that nothing else has."""
    return uuid.uuid4().hex
