"""Every metric of ours by name: its kind, its labels, what it means. docs/metrics.md has the same as a table.

Names follow Prometheus' conventions ("Metric and label naming"): base units, and what only grows ends in `_total`. No
label has more values than the settings name or the code has words for: no repositories, tags, digests or callers.
"""

from dataclasses import dataclass
from typing import Literal

PREFIX = "registry_mirror_"
"""What the names begin with."""

Kind = Literal["counter", "gauge", "histogram"]

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
_LAG = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_CALL = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 10.0, 30.0, _MINUTE, 5 * _MINUTE)
_REQUEST = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, _MINUTE, 5 * _MINUTE)
_WORK = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, _MINUTE, 2.5 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE)
_DELAY = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 3 * _HOUR, 8 * _HOUR, _DAY)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric; `name` is whole, `buckets` are the upper bounds of a histogram, in seconds."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(PREFIX + name, "counter", text, labels)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(PREFIX + name, "gauge", text, labels)


def _seconds(name: str, buckets: tuple[float, ...], text: str, *labels: str) -> Metric:
    return Metric(f"{PREFIX}{name}_seconds", "histogram", text, labels, buckets)


PUSHES = _counter("pushes_total", "Manifests that were acknowledged, once for each of their tags.", "registry")
PUSH = _seconds("push", _REQUEST, "From the first byte of a push to its acknowledgement.", "registry")
ACKNOWLEDGE = _seconds(
    "push_acknowledge",
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    "From the arrival of a manifest to its acknowledgement.",
    "registry",
)
UNPACK = _seconds("push_unpack", _WORK, "From the last byte of a push to an image that is unpacked.", "registry")
REPLICATE = _seconds("push_replicate", _DELAY, "From an acknowledgement to an upstream that has it all.", "registry")
UPLOADED_BLOBS = _counter("uploaded_blobs_total", "Blobs that builders have uploaded.", "registry")
UPLOADED_BYTES = _counter("uploaded_bytes_total", "Bytes of those blobs.", "registry")

TASKS = _gauge("tasks", "Tasks that are not over.", "kind", "state")
OLDEST_TASK = _gauge(
    "oldest_task_age_seconds",
    "Since the oldest job with such a task was acknowledged; 0 when there is none.",
    "kind",
    "state",
)
ATTEMPTS = _counter(
    "task_attempts_total",
    "Attempts that ended: well (done, skipped), to be tried again (pending), for a person to see (parked).",
    "kind",
    "outcome",
    "cause",
)
ATTEMPT = _seconds("task_attempt", _WORK, "How long an attempt took.", "kind")
WAIT = _seconds("task_wait", _DELAY, "From an acknowledgement to the first attempt.", "kind")

UPSTREAM_STATE = _gauge("upstream_state", "1 for the state that an upstream's breaker is in.", "registry", "state")
UPSTREAM_REQUESTS = _counter(
    "upstream_requests_total",
    "Requests to an upstream and its token server; the status is none when no answer came.",
    "registry",
    "method",
    "status",
)
UPSTREAM_REQUEST = _seconds(
    "upstream_request", _REQUEST, "Until the head of an upstream's answer was here.", "registry", "method"
)
UPSTREAM_SENT = _counter("upstream_sent_bytes_total", "Bytes of bodies that an upstream was sent.", "registry")

EVICTED_IMAGES = _counter("evicted_images_total", "Image records that were evicted.")
EVICTED_BYTES = _counter("evicted_bytes_total", "Bytes of content that nothing else here had.")
DISK_SIZE = _gauge("disk_size_bytes", "The size of the filesystem of a directory.", "directory")
DISK_FREE = _gauge("disk_free_bytes", "What is free of it, but for what is kept for root.", "directory")
DISK_RESERVE = _gauge("disk_reserve_bytes", "What pushes leave free of it.", "directory")
LEASES = _gauge("leases", "Leases that the daemon holds in containerd, by what they are for.", "kind")

READY = _gauge("ready", "1 while pushes are taken.")
DRAINING = _gauge("draining", "1 while new pushes are refused for a maintenance.")
CONTAINERD_UP = _gauge("containerd_up", "1 while containerd can be used.")
OPEN_UPLOADS = _gauge("open_uploads", "Upload sessions that were begun and have not ended.")
CONNECTIONS = _gauge("connections", "Connections of builders.")
SOURCE_UP = _gauge(
    "source_up", "1 if a source of these gauges answered in time; else what it knows is left out.", "source"
)

HTTP_REQUESTS = _counter(
    "http_requests_total", "Requests that were answered, of builders and operators.", "method", "route", "status"
)
HTTP_REQUEST = _seconds("http_request", _REQUEST, "Until a request was answered.", "method", "route")
HTTP_RECEIVED = _counter("http_received_bytes_total", "Bytes of requests' bodies.")
HTTP_SENT = _counter("http_sent_bytes_total", "Bytes of answers' bodies that were sent whole.")

GRPC_CALLS = _counter(
    "grpc_calls_total",
    "Calls to containerd that ended, but for those that ask each second whether it is there.",
    "service",
    "method",
    "code",
)
GRPC_CALL = _seconds("grpc_call", _CALL, "How long a call with one answer took.", "service", "method")
LOOP_LAG = _seconds("event_loop_lag", _LAG, "How late a task went on that looks at this four times a second.")
BUILD = _gauge("build_info", "Always 1; the label says which version runs.", "version")

EVERY = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""All of them, in this order."""
