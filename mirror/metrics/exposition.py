"""The answer to a scrape: what was counted so far, and how things stand at this moment."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from mirror import __version__
from mirror.core.capacity import Capacity
from mirror.core.drain import Gate
from mirror.core.errors import JournalUnavailableError, StoreUnavailableError
from mirror.core.jobs import Kind, State
from mirror.core.ports import Clock, Jobs, Leases
from mirror.core.presence import Presence
from mirror.core.publish import JOB_LEASES, KEEP_LEASES
from mirror.core.push import UPLOADS
from mirror.core.readiness import Readiness
from mirror.core.replication.breaker import Breaker, Condition
from mirror.core.replication.restore import RESTORES
from mirror.core.seen import SEEN_LEASES
from mirror.core.through.fetch import PULLS
from mirror.metrics import catalogue
from mirror.metrics.catalogue import Metric

_log = structlog.get_logger(__name__)
_OURS = "registry-mirror/"
_KINDS = (UPLOADS, JOB_LEASES, KEEP_LEASES, SEEN_LEASES, PULLS, RESTORES)
_OTHER = "other"
_WITHIN = 2.0
_QUEUED = (State.PENDING, State.RUNNING, State.PARKED)

Values = dict[tuple[str, ...], float]
"""Of one gauge, by the values of its labels."""
Gauges = dict[Metric, Values]


@dataclass(frozen=True, slots=True)
class Sources:
    """Whoever knows how things stand; `connections` and `uploads` are numbers of what is open."""

    jobs: Jobs
    leases: Leases
    capacity: Capacity
    breakers: Mapping[str, Breaker]
    presence: Presence
    readiness: Readiness
    gate: Gate
    connections: Callable[[], int]
    uploads: Callable[[], int]


class Exposition:
    """Puts together what Prometheus is answered.

    The journal and containerd have two seconds to say their part. Where one does not, the answer comes without it, and
    says so: a host in trouble is when it is wanted most.
    """

    def __init__(self, registry: CollectorRegistry, sources: Sources, clock: Clock) -> None:
        self._registry = registry
        self._sources = sources
        self._clock = clock

    async def render(self, accept: str) -> tuple[bytes, str]:
        """The answer and its media type, in the format that a client accepts: Prometheus' own, or OpenMetrics."""
        encode, content_type = choose_encoder(accept)
        gauges = self._at_once()
        sources = {"journal": self._queues, "containerd": self._leases}
        answers = await asyncio.gather(*(self._ask(name, look) for name, look in sources.items()))
        gauges[catalogue.SOURCE_UP] = {}
        for name, answer in zip(sources, answers, strict=True):
            gauges[catalogue.SOURCE_UP][name,] = float(answer is not None)
            gauges.update(answer or {})
        return encode(_Together(self._registry, gauges)), content_type

    async def _ask(self, name: str, look: Callable[[], Awaitable[Gauges]]) -> Gauges | None:
        try:
            async with asyncio.timeout(_WITHIN):
                return await look()
        except (JournalUnavailableError, StoreUnavailableError, TimeoutError) as error:
            _log.info("metrics.incomplete", source=name, reason=str(error) or "no answer in time")
            return None

    def _at_once(self) -> Gauges:
        """What is known here without asking anybody."""
        sources = self._sources
        return {
            catalogue.BUILD: {(__version__,): 1.0},
            catalogue.READY: {(): float(not sources.readiness.reasons())},
            catalogue.DRAINING: {(): float(not sources.gate.is_open)},
            catalogue.CONTAINERD_UP: {(): float(sources.presence.facts is not None and not sources.presence.reason)},
            catalogue.OPEN_UPLOADS: {(): float(sources.uploads())},
            catalogue.CONNECTIONS: {(): float(sources.connections())},
            catalogue.UPSTREAM_STATE: {
                (name, state): float(breaker.condition is state)
                for name, breaker in sources.breakers.items()
                for state in Condition
            },
            **self._disks(),
        }

    def _disks(self) -> Gauges:
        levels = {(str(level.directory),): level for level in self._sources.capacity.levels()}
        return {
            catalogue.DISK_SIZE: {key: float(level.total) for key, level in levels.items()},
            catalogue.DISK_FREE: {key: float(level.free) for key, level in levels.items()},
            catalogue.DISK_RESERVE: {key: float(level.reserve) for key, level in levels.items()},
        }

    async def _queues(self) -> Gauges:
        now = self._clock.now()
        nothing: Values = {(kind, state): 0.0 for kind in Kind for state in _QUEUED}
        queues = await self._sources.jobs.queues()
        tasks: Values = {(queue.kind, queue.state): float(queue.tasks) for queue in queues}
        ages: Values = {(queue.kind, queue.state): max(now - queue.oldest, 0.0) for queue in queues}
        return {catalogue.TASKS: nothing | tasks, catalogue.OLDEST_TASK: nothing | ages}

    async def _leases(self) -> Gauges:
        kinds = [prefix.removeprefix(_OURS).rstrip("/") for prefix in _KINDS]
        found = Counter(lease.split("/")[1] for lease in await self._sources.leases.list(_OURS))
        known: Values = {(kind,): float(found.pop(kind, 0)) for kind in kinds}
        return {catalogue.LEASES: {**known, (_OTHER,): float(found.total())}}


class _Together(Collector):
    """What was counted, then the gauges."""

    def __init__(self, registry: CollectorRegistry, gauges: Gauges) -> None:
        self._registry = registry
        self._gauges = gauges

    def collect(self) -> Iterator[Family]:
        """See `Collector`."""
        yield from self._registry.collect()
        for metric, values in self._gauges.items():
            family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in values.items():
                family.add_metric(labels, value)
            yield family
