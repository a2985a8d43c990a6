"""Statuses, tasks and upstreams as JSON: the same words for builders, for operators and in events."""

from mirror.core.jobs import Task
from mirror.core.progress import Progress
from mirror.core.replication.breaker import Breaker
from mirror.core.status import Status


def render(status: Status) -> dict[str, object]:
    """A status; times are Unix seconds."""
    task, unpack = status.task, status.unpack
    return {
        "job": status.job.id,
        "image": status.job.image,
        "digest": status.job.digest,
        "created": status.job.created,
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
        "not_before": task.not_before,
    }


def render_upstream(breaker: Breaker) -> dict[str, object]:
    """Whether an upstream is there, why not, and since when (Unix time)."""
    return {"state": breaker.condition, "reason": breaker.reason, "since": breaker.since}
