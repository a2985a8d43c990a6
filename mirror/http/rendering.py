"""Statuses, tasks and upstreams as JSON: the same words for builders, for operators and in events."""

from mirror.core.jobs import Task
from mirror.core.presence import Presence
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
        "unpack": {"state": unpack.state, "reason": unpack.reason} if unpack else None,
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
    """Whether an upstream is there, and why not."""
    return {"state": breaker.condition, "reason": breaker.reason}


def render_containerd(presence: Presence) -> dict[str, object]:
    """The containerd that was last seen here, and why it cannot be used just now, if so."""
    facts = presence.facts
    return {"version": facts.version if facts else None, "reason": presence.reason or ""}
