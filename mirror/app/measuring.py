"""What Prometheus is told, wired to those who know."""

from collections.abc import Callable

from mirror.app.rooms import Rooms
from mirror.core.capacity import Capacity
from mirror.core.drain import Gate
from mirror.core.presence import Presence
from mirror.core.readiness import Readiness
from mirror.metrics.exposition import Exposition, Sources


class Measuring:
    """`recorder` counts; what it counted is exposed with how things stand."""

    def __init__(
        self,
        rooms: Rooms,
        gate: Gate,
        *,
        capacity: Capacity,
        presence: Presence,
        readiness: Readiness,
        uploads: Callable[[], int],
    ) -> None:
        self.recorder = rooms.metrics
        self._rooms = rooms
        self._gate = gate
        self._capacity = capacity
        self._presence = presence
        self._readiness = readiness
        self._uploads = uploads

    def exposition(self, connections: Callable[[], int]) -> Exposition:
        """The answers to scrapes, with the number of `connections` of builders."""
        sources = Sources(
            jobs=self._rooms.jobs,
            leases=self._rooms.leases,
            capacity=self._capacity,
            breakers=self._rooms.breakers,
            presence=self._presence,
            readiness=self._readiness,
            gate=self._gate,
            connections=connections,
            uploads=self._uploads,
        )
        return Exposition(self.recorder.registry, sources, self._rooms.clock)
