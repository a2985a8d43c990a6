"""`GET /status` on the admin socket: everything that an operator looks at first, in one answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mirror import __version__
from mirror.core.capacity import Capacity, Level, Marks
from mirror.core.drain import Drain
from mirror.core.failures import Failure, Failures
from mirror.core.jobs import Kind
from mirror.core.presence import Presence
from mirror.core.progress import Board
from mirror.core.readiness import Readiness
from mirror.core.replication.breaker import Breaker
from mirror.core.watch import Watch
from mirror.http.rendering import render_task, render_upstream

_MOST_TASKS = 100


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """What is set of containerd, and the way of uploads into it that was chosen with its reason; None until it is."""

    namespace: str
    snapshotter: str
    way: Callable[[], tuple[str, str] | None]


@dataclass(frozen=True, slots=True)
class Overview:
    """Asks all who know something."""

    watch: Watch
    board: Board
    drain: Drain
    readiness: Readiness
    presence: Presence
    store: StoreSettings
    breakers: Mapping[str, Breaker]
    capacity: Capacity
    failures: Failures

    async def render(self) -> dict[str, object]:
        """How things stand, as JSON; times are Unix seconds. Raises JournalUnavailableError."""
        sending = self.board.total(Kind.REPLICATE)
        return {
            "version": __version__,
            "counts": await self.watch.counts(),
            "tasks": [render_task(task) for task in await self.watch.unfinished(_MOST_TASKS)],
            "sending": {"done": sending.done, "of": sending.of},
            "draining": self.drain.refuses,
            "not_ready": self.readiness.reasons(),
            "containerd": self._containerd(),
            "upstreams": {name: render_upstream(breaker) for name, breaker in self.breakers.items()},
            "disks": self._disks(),
            "failures": [_failure(failure) for failure in self.failures.latest()],
        }

    def _containerd(self) -> dict[str, object]:
        """The containerd that was last seen here, what it is used for, and why it cannot be used just now, if so."""
        facts = self.presence.facts
        way, why = self.store.way() or (None, "")
        return {
            "version": facts.version if facts else None,
            "reason": self.presence.reason or "",
            "namespace": self.store.namespace,
            "snapshotter": self.store.snapshotter,
            "import": way,
            "import_reason": why,
        }

    def _disks(self) -> list[dict[str, object]]:
        levels = sorted(self.capacity.levels(), key=lambda level: level.directory)
        disks = [_disk("containerd", level, self.capacity.marks) for level in levels]
        return [*disks, _disk("journal", self.capacity.journal(), None)]


def _disk(what: str, level: Level, marks: Marks | None) -> dict[str, object]:
    return {
        "of": what,
        "directory": str(level.directory),
        "total": level.total,
        "free": level.free,
        "reserve": level.reserve,
        "evict_at": marks and marks.evict_at,
        "evict_to": marks and marks.evict_to,
    }


def _failure(failure: Failure) -> dict[str, object]:
    """The task as it was attempted, and what became of it."""
    outcome = failure.outcome
    became = {"state": outcome.state, "reason": outcome.reason, "not_before": outcome.not_before}
    return {"time": failure.time, **render_task(failure.task), "attempts": failure.task.attempts + 1, **became}
