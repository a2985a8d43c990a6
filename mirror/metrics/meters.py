"""What is counted as it happens. Names and units are those of Prometheus' conventions ("Metric and label naming").

No label holds what a caller chooses: repositories, tags, digests and paths would make series without end.
"""

from collections.abc import Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from mirror import __version__
from mirror.core.jobs import Job, Kind, Outcome, State, Task

PREFIX = "registry_mirror_"

# From what a small push takes to what a client waits for at most; from a small image to one of many gigabytes; from a
# registry next door to one that was away for a day.
_ACKNOWLEDGE = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_UNPACK = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_REPLICATE = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)
_REQUEST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_CALL = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LAG = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Meters:
    """The `Observer` port, and what the rooms themselves count."""

    def __init__(self) -> None:
        # A series more for each of ours, for what the start of the process says just as well.
        disable_created_metrics()  # type: ignore[no-untyped-call] # the library has not given it a type
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        info = Info(f"{PREFIX}build", "Which version this is.", registry=self.registry)
        info.info({"version": __version__})
        self._received = self._counter("received_bytes", "Bytes of blobs that were pushed here.")
        self._pushes = self._counter("pushes", "Manifests that were acknowledged.", "upstream")
        self._push = self._histogram("push_seconds", "From the first byte of a push to its acknowledgement.", _REQUEST)
        self._acknowledge = self._histogram(
            "push_acknowledge_seconds", "From the arrival of a manifest to its acknowledgement.", _ACKNOWLEDGE
        )
        self._unpack = self._histogram(
            "push_unpack_seconds", "From the last byte of a push to its image being unpacked.", _UNPACK
        )
        self._replicate = self._histogram(
            "push_replicate_seconds",
            "From the acknowledgement to all of it being upstream, but for variants.",
            _REPLICATE,
            "upstream",
        )
        self._attempts = self._counter(
            "task_attempts",
            "Attempts at tasks, by the state that the task is left in; those that failed by their cause.",
            "kind",
            "state",
            "cause",
        )
        self._wait = self._histogram(
            "task_wait_seconds",
            "From the acknowledgement to the first attempt at a task, but for variants on their way upstream.",
            _REPLICATE,
            "kind",
        )
        self._asked = self._histogram(
            "upstream_request_seconds",
            "Until the answer of an upstream, or of its token server, had begun; the status is none where it did not.",
            _REQUEST,
            "upstream",
            "method",
            "status",
        )
        self._sent = self._counter("sent_bytes", "Bytes of blobs that were brought upstream.", "upstream")
        self._evictions = self._counter("evicted_images", "Images that went to make room, or by the rules.")
        self._freed = self._counter("evicted_bytes", "Room on the disk that evictions made.")
        self._requests = self._histogram(
            "http_request_seconds",
            "From a request's head to the end of its answer.",
            _REQUEST,
            "method",
            "route",
            "status",
        )
        self._calls = self._histogram(
            "containerd_call_seconds", "Calls of containerd that have one answer.", _CALL, "method", "code"
        )
        self._lag = self._histogram("event_loop_lag_seconds", "How much later than it was due a timer went off.", _LAG)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(PREFIX + name, text, labels, buckets=buckets, registry=self.registry)

    def received(self, size: int) -> None:
        """See `Observer`."""
        self._received.inc(size)

    def acknowledged(self, job: Job, seconds: float) -> None:
        """See `Observer`."""
        self._pushes.labels(job.repository.registry).inc()
        self._acknowledge.observe(seconds)
        if arrival := job.timeline.arrival:
            self._push.observe(max(job.created - arrival.first_byte, 0.0))

    def attempted(self, task: Task, outcome: Outcome, now: float) -> None:
        """See `Observer`."""
        self._attempts.labels(task.kind, outcome.state, outcome.cause).inc()
        begun = _first_attempt(task)
        if begun is not None and not task.attempts and not task.gives_way:
            self._wait.labels(task.kind).observe(max(begun - task.job.created, 0.0))
        if outcome.state is not State.DONE:
            return
        job, arrival = task.job, task.job.timeline.arrival
        if task.kind is Kind.UNPACK:
            self._unpack.observe(max(now - (arrival.last_byte if arrival else job.created), 0.0))
        elif task.kind is Kind.REPLICATE and not task.gives_way:
            self._replicate.labels(job.repository.registry).observe(max(now - job.created, 0.0))

    def sent(self, registry: str, size: int) -> None:
        """See `Observer`."""
        self._sent.labels(registry).inc(size)

    def evicted(self, images: int, freed: int) -> None:
        """See `Observer`."""
        self._evictions.inc(images)
        self._freed.inc(freed)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered; `route` is the pattern of its path, not the path."""
        self._requests.labels(method, route, status).observe(seconds)

    def asked(self, registry: str, method: str, status: str, seconds: float) -> None:
        """An upstream answered a request, or did not."""
        self._asked.labels(registry, method, status).observe(seconds)

    def called(self, method: str, code: str, seconds: float) -> None:
        """A call of containerd ended, with a status code of gRPC."""
        self._calls.labels(method, code).observe(seconds)

    def lagged(self, seconds: float) -> None:
        """A timer went off so much later than it was due."""
        self._lag.observe(seconds)


def _first_attempt(task: Task) -> float | None:
    timeline = task.job.timeline
    return {Kind.REPLICATE: timeline.replication_begun, Kind.UNPACK: timeline.unpack_begun}.get(task.kind)
