"""What is looked up when somebody asks: queues, disks, and who is there."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client.core import GaugeMetricFamily, Metric

from mirror.core.capacity import Level
from mirror.core.errors import JournalUnavailableError, StoreUnavailableError
from mirror.core.jobs import Kind, State
from mirror.core.ports import Queued
from mirror.metrics.meters import PREFIX

_Found = TypeVar("_Found")
_WITHIN = 3.0
_OURS = "registry-mirror/"
_LEASES = ("job", "keep", "pull", "repair", "restore", "seen", "upload")
_UNFINISHED = (State.PENDING, State.RUNNING, State.PARKED)


@dataclass(frozen=True, slots=True)
class Sources:
    """Who is asked: the journal and containerd take their time, the others answer at once.

    `upstreams` says of each registry whether its upstream is there; `sessions` are uploads that were begun and not
    finished.
    """

    queue: Callable[[], Awaitable[list[Queued]]]
    leases: Callable[[str], Awaitable[Iterable[str]]]
    now: Callable[[], float]
    levels: Callable[[], list[Level]]
    upstreams: Callable[[], Mapping[str, bool]]
    has_containerd: Callable[[], bool]
    is_ready: Callable[[], bool]
    is_draining: Callable[[], bool]
    connections: Callable[[], int]
    sessions: Callable[[], int]


class Snapshot:
    """How things stand at one moment, as a collector of prometheus-client.

    What the journal or containerd did not say in time is left out, rather than all of it.
    """

    def __init__(self, sources: Sources, queue: list[Queued] | None, leases: list[str] | None) -> None:
        self._sources = sources
        self._queue = queue
        self._leases = leases

    @classmethod
    async def take(cls, sources: Sources) -> "Snapshot":
        """Look."""
        queue, leases = await asyncio.gather(_in_time(sources.queue()), _in_time(sources.leases(_OURS)))
        return cls(sources, queue, None if leases is None else list(leases))

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        sources = self._sources
        yield _gauge("ready", "Whether pushes are taken.", sources.is_ready())
        yield _gauge("draining", "Whether pushes are refused because an operator said so.", sources.is_draining())
        yield _gauge("containerd_up", "Whether containerd answers, and can be worked with.", sources.has_containerd())
        up = {(registry,): is_there for registry, is_there in sources.upstreams().items()}
        yield _family(
            "upstream_up", "Whether requests to an upstream are tried: its breaker is closed.", ["upstream"], up.items()
        )
        yield _gauge("http_connections", "Connections of builders.", sources.connections())
        yield _gauge("upload_sessions", "Uploads that were begun and not finished.", sources.sessions())
        yield from self._disks()
        if self._queue is not None:
            yield from self._tasks(self._queue)
        if self._leases is not None:
            found = Counter(lease.removeprefix(_OURS).partition("/")[0] for lease in self._leases)
            kinds = {(kind,): found[kind] for kind in _LEASES}
            yield _family(
                "leases", "Leases in containerd that keep content from being collected.", ["kind"], kinds.items()
            )

    def _disks(self) -> Iterator[Metric]:
        levels = {(str(level.directory),): level for level in self._sources.levels()}
        for name, text, figure in (
            ("size", "How large a filesystem of containerd's or the journal's is.", "total"),
            ("free", "How much of it is free.", "free"),
            ("reserve", "How much of it pushes leave free.", "reserve"),
        ):
            values = {directory: getattr(level, figure) for directory, level in levels.items()}
            yield _family(f"disk_{name}_bytes", text, ["directory"], values.items())

    def _tasks(self, queue: list[Queued]) -> Iterator[Metric]:
        tasks: dict[tuple[str, ...], float] = {(kind, state): 0 for kind in Kind for state in _UNFINISHED}
        ages: dict[tuple[str, ...], float] = {(kind,): 0.0 for kind in Kind}
        for each in queue:
            tasks[each.kind, each.state] = each.tasks
            if each.state is not State.PARKED and each.oldest is not None:
                ages[each.kind,] = max(ages[each.kind,], self._sources.now() - each.oldest)
        yield _family("tasks", "Tasks that are not over.", ["kind", "state"], tasks.items())
        text = (
            "Since when the oldest job waits that has such a task to be done, but for parked ones and variants on "
            "their way upstream."
        )
        yield _family("oldest_job_age_seconds", text, ["kind"], ages.items())


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=float(value))


def _family(name: str, text: str, labels: list[str], values: Iterable[tuple[Sequence[str], float]]) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for label_values, value in sorted(values):
        family.add_metric(label_values, float(value))
    return family


async def _in_time(answer: Awaitable[_Found]) -> _Found | None:
    try:
        async with asyncio.timeout(_WITHIN):
            return await answer
    except (TimeoutError, StoreUnavailableError, JournalUnavailableError):
        return None
