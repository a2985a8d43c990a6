"""Counters and histograms, and how what happens in the other rooms becomes them."""

from collections.abc import Iterable, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from mirror.core.jobs import Job, Kind, Outcome, State, Task
from mirror.metrics import catalogue
from mirror.metrics.catalogue import Metric

_FINE = "none"


class Recorder:
    """Implements `mirror.core.ports.Metrics`, and counts for the rooms beside `core`; `registry` has all of it.

    What there is for each of the `registries` is there from the beginning: else the first push would be no increase.
    """

    def __init__(self, registries: Iterable[str]) -> None:
        # They would be a series more for each of ours, for what the start of the process says just as well.
        disable_created_metrics()  # type: ignore[no-untyped-call] # the library has not given it a type
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._counters = {
            each: Counter(each.name, each.help, each.labels, registry=self.registry)
            for each in catalogue.EVERY
            if each.kind == "counter"
        }
        self._histograms = {
            each: Histogram(each.name, each.help, each.labels, buckets=each.buckets, registry=self.registry)
            for each in catalogue.EVERY
            if each.kind == "histogram"
        }
        for metric in catalogue.EVERY:
            for registry in registries if metric.labels == ("registry",) else ():
                (self._counters.get(metric) or self._histograms[metric]).labels(registry)

    def acknowledged(self, jobs: Sequence[Job], seconds: float) -> None:
        """See `Metrics.acknowledged`."""
        for job in jobs:
            registry = job.repository.registry
            self._count(catalogue.PUSHES, registry)
            self._observe(catalogue.ACKNOWLEDGE, seconds, registry)
            if arrival := job.timeline.arrival:
                self._observe(catalogue.PUSH, job.created - arrival.first_byte, registry)

    def attempted(self, task: Task, outcome: Outcome, seconds: float, now: float) -> None:
        """See `Metrics.attempted`."""
        self._count(catalogue.ATTEMPTS, task.kind, outcome.state, outcome.cause or _FINE)
        self._observe(catalogue.ATTEMPT, seconds, task.kind)
        if not task.attempts:
            self._observe(catalogue.WAIT, now - seconds - task.job.created, task.kind)
        if outcome.state is State.DONE:
            self._done(task, now)

    def _done(self, task: Task, now: float) -> None:
        job, registry = task.job, task.job.repository.registry
        if task.kind is Kind.REPLICATE:
            self._observe(catalogue.REPLICATE, now - job.created, registry)
        elif task.kind is Kind.UNPACK and job.timeline.arrival:
            self._observe(catalogue.UNPACK, now - job.timeline.arrival.last_byte, registry)

    def evicted(self, images: int, size: int) -> None:
        """See `Metrics.evicted`."""
        self._count(catalogue.EVICTED_IMAGES, by=images)
        self._count(catalogue.EVICTED_BYTES, by=size)

    def uploaded(self, registry: str, size: int) -> None:
        """A blob was uploaded."""
        self._count(catalogue.UPLOADED_BLOBS, registry)
        self._count(catalogue.UPLOADED_BYTES, registry, by=size)

    def upstream_answered(self, registry: str, method: str, status: str, seconds: float) -> None:
        """An upstream answered a request, or did not."""
        self._count(catalogue.UPSTREAM_REQUESTS, registry, method, status)
        self._observe(catalogue.UPSTREAM_REQUEST, seconds, registry, method)

    def upstream_sent(self, registry: str, size: int) -> None:
        """Bytes of a body went to an upstream."""
        self._count(catalogue.UPSTREAM_SENT, registry, by=size)

    def request_answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request of a builder or an operator was answered."""
        self._count(catalogue.HTTP_REQUESTS, method, route, str(status))
        self._observe(catalogue.HTTP_REQUEST, seconds, method, route)

    def bodies(self, received: int, sent: int) -> None:
        """So many bytes of bodies came and went with a request."""
        self._count(catalogue.HTTP_RECEIVED, by=received)
        self._count(catalogue.HTTP_SENT, by=sent)

    def called(self, service: str, method: str, code: str, seconds: float | None) -> None:
        """A call to containerd ended; its time is None where it is none of containerd's."""
        self._count(catalogue.GRPC_CALLS, service, method, code)
        if seconds is not None:
            self._observe(catalogue.GRPC_CALL, seconds, service, method)

    def lagged(self, seconds: float) -> None:
        """The event loop was late."""
        self._observe(catalogue.LOOP_LAG, seconds)

    def _count(self, metric: Metric, *labels: str, by: int = 1) -> None:
        counter = self._counters[metric]
        (counter.labels(*labels) if labels else counter).inc(by)

    def _observe(self, metric: Metric, seconds: float, *labels: str) -> None:
        """Clocks may be set back: nothing took less than no time."""
        histogram = self._histograms[metric]
        (histogram.labels(*labels) if labels else histogram).observe(max(seconds, 0.0))
