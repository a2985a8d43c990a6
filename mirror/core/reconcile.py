"""Comparing the journal with containerd after a start, and mending what a crash left between them."""

from collections.abc import Callable

import structlog

from mirror.core.errors import StoreUnavailableError
from mirror.core.outlast import outlast
from mirror.core.ports import Clock, Jobs, Leases
from mirror.core.publish import JOB_LEASES

_log = structlog.get_logger(__name__)
_RETRY_AFTER = 1.0
# A lease that could not be ended, because containerd was away just then, is an orphan until the next round.
_MEND_EVERY = 30.0


class Reconciler:
    """Makes the job leases in containerd exactly those that the journal's jobs need.

    `in_flight` names the leases of pushes that have not reached the journal yet.
    """

    def __init__(
        self,
        *,
        leases: Leases,
        jobs: Jobs,
        in_flight: Callable[[], frozenset[str]],
        clock: Clock,
    ) -> None:
        self._leases = leases
        self._jobs = jobs
        self._in_flight = in_flight
        self._clock = clock

    async def run(self) -> None:
        """Mend once, as soon as containerd answers."""
        while True:
            try:
                return await outlast(self._clock, self.mend)
            except StoreUnavailableError:
                await self._clock.sleep(_RETRY_AFTER)

    async def watch(self) -> None:
        """Mend as soon as containerd answers, and then now and then, for as long as the daemon runs."""
        await self.run()
        while True:
            await self._clock.sleep(_MEND_EVERY)
            try:
                await outlast(self._clock, self.mend)
            except StoreUnavailableError as error:
                _log.warning("reconcile.postponed", reason=str(error))

    async def mend(self) -> None:
        """End leases without a job, make leases that a job lacks.

        Raises:
            StoreUnavailableError, JournalUnavailableError: one of the two is away.
        """
        there = set(await self._leases.list(JOB_LEASES))
        in_flight = self._in_flight()  # before the journal is read: a push on its way is in one or in both
        wanted = {job.lease: job for job in await self._jobs.held()}
        for lease in there - wanted.keys() - in_flight:
            _log.warning("reconcile.lease.orphan", lease=lease)
            await self._leases.delete(lease)
        for lease in wanted.keys() - there:
            _log.warning("reconcile.lease.missing", lease=lease, image=wanted[lease].image)
            await self._leases.create(lease)
            await self._leases.hold(lease, wanted[lease].digest)
