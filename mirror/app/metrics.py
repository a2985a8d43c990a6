"""Where the metrics come from."""

from mirror.app.daemon import Daemon
from mirror.app.listeners import Listeners
from mirror.app.rooms import Rooms
from mirror.metrics.exposition import Exposition
from mirror.metrics.state import Sources


def make_exposition(rooms: Rooms, daemon: Daemon, listeners: Listeners) -> Exposition:
    """What `/metrics` tells."""
    sources = Sources(
        queue=rooms.jobs.queue,
        leases=rooms.leases.list,
        now=rooms.clock.now,
        levels=lambda: [*daemon.space.capacity.levels(), daemon.space.capacity.journal()],
        upstreams=lambda: {name: not breaker.is_open for name, breaker in rooms.breakers.items()},
        has_containerd=lambda: daemon.presence.facts is not None and daemon.presence.reason is None,
        is_ready=lambda: not daemon.readiness.reasons(),
        is_draining=lambda: daemon.drain.refuses,
        connections=lambda: listeners.connections.number,
        sessions=daemon.blob_push.sessions,
    )
    return Exposition(rooms.metrics, sources)
