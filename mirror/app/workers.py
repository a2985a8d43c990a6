"""The loops that carry out tasks, and what they share with the pushes."""

from collections.abc import Callable
from dataclasses import dataclass

from mirror.app.rooms import Rooms
from mirror.core.failures import Failures
from mirror.core.jobs import Backoff, Kind
from mirror.core.signal import Signal
from mirror.core.worker import Attempt, UpstreamLimits, Worker


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the workers share with the pushes."""

    changed: Signal
    in_flight: Callable[[], frozenset[str]]
    failures: Failures


def make_worker(
    kind: Kind,
    attempt: Attempt,
    rooms: Rooms,
    wiring: Wiring,
    *,
    backoff: Backoff,
    at_once: int,
    upstreams: UpstreamLimits | None = None,
) -> Worker:
    """The loop over one kind of task; without `upstreams` it is nothing to it where they lead."""
    return Worker(
        kind,
        attempt,
        jobs=rooms.jobs,
        leases=rooms.leases,
        clock=rooms.clock,
        random=rooms.random,
        backoff=backoff,
        at_once=at_once,
        upstreams=upstreams,
        in_flight=wiring.in_flight,
        failures=wiring.failures,
        changed=wiring.changed,
        observer=rooms.metrics,
        tracer=rooms.tracer,
    )
