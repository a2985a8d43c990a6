"""Statuses, tasks and upstreams as JSON: the same words for builders, for operators and in events."""

from mirror.core.jobs import State, Task
from mirror.core.presence import Presence
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
        "timeline": _render_timeline(task, unpack),
    }


def _render_timeline(task: Task, unpack: Task | None) -> dict[str, float | None]:
    """The moments of a push, in their usual order; null for what is still to come, or was not seen."""
    job = task.job
    return {
        "first_byte": job.bytes.first if job.bytes else None,
        "last_byte": job.bytes.last if job.bytes else None,
        "acknowledged": job.created,
        "unpacked": unpack.ended if unpack and unpack.state is State.DONE else None,
        "replicated": task.ended if task.state is State.DONE else None,
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
    """Whether an upstream is there, and why not."""
    return {"state": breaker.condition, "reason": breaker.reason}


def render_containerd(presence: Presence) -> dict[str, object]:
    """The containerd that was last seen here, and why it cannot be used just now, if so."""
    facts = presence.facts
    return {"version": facts.version if facts else None, "reason": presence.reason or ""}
