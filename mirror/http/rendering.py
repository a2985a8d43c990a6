"""Statuses, tasks and upstreams as JSON: the same words for builders, for operators and in events."""

from mirror.core.jobs import Job, Task
from mirror.core.progress import Progress
from mirror.core.replication.breaker import Breaker
from mirror.core.status import Status
from mirror.core.timeline import Blobs


def render(status: Status) -> dict[str, object]:
    """A status; times are Unix seconds."""
    task, unpack = status.task, status.unpack
    return {
        "job": status.job.id,
        "image": status.job.image,
        "digest": status.job.digest,
        "created": status.job.created,
        "timeline": _render_timeline(status.job),
        "phase": status.phase,
        "reason": task.reason,
        "attempts": task.attempts,
        "next_try": status.next_try,
        "bytes": {"done": status.done, "of": status.of} if status.of else None,
        "unpack": _render_unpack(unpack, status.unpacking) if unpack else None,
    }


def _render_unpack(task: Task, progress: Progress | None) -> dict[str, object]:
    return {
        "state": task.state,
        "reason": task.reason,
        "layers": {"done": progress.layers_done, "of": progress.layers_of} if progress else None,
        "bytes": {"done": progress.done, "of": progress.of} if progress else None,
    }


def _render_timeline(job: Job) -> dict[str, object]:
    timeline, arrival = job.timeline, job.timeline.arrival
    return {
        "first_byte": arrival.first_byte if arrival else None,
        "last_byte": arrival.last_byte if arrival else None,
        "acknowledged": job.created,
        "unpack_begun": timeline.unpack_begun,
        "unpacked": timeline.unpacked,
        "replication_begun": timeline.replication_begun,
        "replicated": timeline.replicated,
        "sent": _render_blobs(arrival.sent) if arrival else None,
        "present": _render_blobs(arrival.present) if arrival else None,
    }


def _render_blobs(blobs: Blobs) -> dict[str, int]:
    return {"blobs": blobs.count, "bytes": blobs.bytes}


def render_task(task: Task) -> dict[str, object]:
    """One task of a job; times are Unix seconds."""
    return {
        "job": task.job.id,
        "image": task.job.image,
        "digest": task.job.digest,
        "kind": task.kind,
        "state": task.state,
        "attempts": task.attempts,
        "reason": task.reason,
        "created": task.job.created,
        "timeline": _render_timeline(task.job),
        "not_before": task.not_before,
    }


def render_upstream(breaker: Breaker) -> dict[str, object]:
    """Whether an upstream is there, why not, and since when (Unix time)."""
    return {"state": breaker.condition, "reason": breaker.reason, "since": breaker.since}
