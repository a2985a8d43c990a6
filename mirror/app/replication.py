"""Everything on the way to the upstreams, wired together."""

from collections.abc import Callable, Coroutine
from functools import partial

from mirror import config
from mirror.app.rooms import Rooms, backoff_of, new_id
from mirror.app.workers import Wiring, make_worker
from mirror.core.jobs import Kind
from mirror.core.outlast import outlast
from mirror.core.progress import Board
from mirror.core.replication.carrier import Carrier
from mirror.core.replication.eager import HeadStart
from mirror.core.replication.fallback import FallbackTags
from mirror.core.replication.pace import Limits
from mirror.core.replication.precedence import Precedence
from mirror.core.replication.replicator import Replicator
from mirror.core.replication.restore import Restorer
from mirror.core.replication.retract import Retractor
from mirror.core.replication.turns import Turns
from mirror.core.worker import UpstreamLimits, Worker


class Replication:
    """Everything on the way to the upstreams."""

    def __init__(self, settings: config.Settings, rooms: Rooms, board: Board) -> None:
        self._settings = settings
        self._rooms = rooms
        rates = {name: upstream.rate or None for name, upstream in settings.upstreams.items()}
        self.limits = Limits(rooms.clock, settings.replication.rate or None, rates)
        self._precedence = Precedence(rooms.clock)
        carriers = {name: self._carrier(name) for name in settings.upstreams}
        fallback = FallbackTags(rooms.grants)
        self.head_start = HeadStart(carriers, rooms.clock, rooms.tracer)
        self.restorer = Restorer(
            content=rooms.content,
            leases=rooms.leases,
            grants=rooms.grants,
            upstreams=rooms.upstreams,
            replacement=rooms.replacement,
            new_id=new_id,
        )
        replicator = Replicator(
            content=rooms.content,
            grants=rooms.grants,
            jobs=rooms.jobs,
            upstreams=rooms.upstreams,
            carriers=carriers,
            fallback=fallback,
            board=board,
            clock=rooms.clock,
            tracer=rooms.tracer,
        )
        self._attempts = {
            Kind.REPLICATE: self.restorer.around(replicator.attempt),
            Kind.DELETE: Retractor(jobs=rooms.jobs, upstreams=rooms.upstreams, fallback=fallback).attempt,
        }

    def change(self, old: config.Settings, new: config.Settings) -> None:
        """Go on at other rates; those that are as before stay what an operator has made of them."""
        if new.replication.rate != old.replication.rate:
            self.limits.change(None, new.replication.rate or None)
        for name, upstream in new.upstreams.items():
            if upstream.rate != old.upstreams[name].rate:
                self.limits.change(name, upstream.rate or None)

    def _carrier(self, name: str) -> Carrier:
        return Carrier(
            self._rooms.upstreams[name],
            content=self._rooms.content,
            transfers=self._rooms.transfers,
            clock=self._rooms.clock,
            turns=Turns(self._settings.replication.blobs),
            precedence=self._precedence,
            throttle=self.limits.throttle(name),
            observer=self._rooms.metrics,
            tracer=self._rooms.tracer,
        )

    def worker(self, kind: Kind, wiring: Wiring, *, gives_way: bool = False) -> Worker:
        """The loop over one kind of task that ends at an upstream: over those that give way, or over the others."""
        jobs = self._settings.replication.jobs
        limits = UpstreamLimits(jobs, self._rooms.away, newest_first=kind is Kind.REPLICATE, gives_way=gives_way)
        backoff, at_once = backoff_of(self._settings), jobs * len(self._rooms.upstreams)
        return make_worker(
            kind, self._attempts[kind], self._rooms, wiring, backoff=backoff, at_once=at_once, upstreams=limits
        )

    def watching(self, name: str, wiring: Wiring) -> Callable[[], Coroutine[None, None, None]]:
        """The task that probes an upstream while it is away."""

        async def back(was_away: bool) -> None:  # noqa: FBT001 - the one thing that there is to say
            if was_away:
                await outlast(self._rooms.clock, lambda: self._rooms.jobs.hurry(name))
            wiring.changed.fire()

        return partial(self._rooms.breakers[name].watch, self._rooms.upstreams[name].probe, back)
