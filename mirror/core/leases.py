"""Letting go of leases: of one that ends by itself anyway, and of a job's."""

from collections.abc import Callable
from contextlib import suppress

import structlog

from mirror.core.errors import StoreUnavailableError
from mirror.core.jobs import Job
from mirror.core.ports import Clock, Jobs, Leases
from mirror.core.signal import Signal

_log = structlog.get_logger(__name__)


async def let_go(leases: Leases, lease: str | None) -> None:
    """End an expiring lease early, if there is one; a store that is away is no reason to fail: it runs out."""
    if lease:
        with suppress(StoreUnavailableError):
            await leases.delete(lease)


class JobLeases:
    """The leases of jobs. `in_flight` names those of pushes that are not acknowledged yet."""

    def __init__(
        self,
        *,
        jobs: Jobs,
        leases: Leases,
        clock: Clock,
        in_flight: Callable[[], frozenset[str]],
        changed: Signal,
    ) -> None:
        self._jobs = jobs
        self._leases = leases
        self._clock = clock
        self._in_flight = in_flight
        self._changed = changed

    async def release(self, job: Job) -> None:
        """End a job's lease once nothing needs it; a lease that cannot be ended now is the reconciler's."""
        if not job.lease or await self._jobs.needs_lease(job):
            return
        while job.lease in self._in_flight():  # all done, before the image record that will hold it was made
            await self._clock.wait(self._changed.arm(), None)
        try:
            await self._leases.delete(job.lease)
        except StoreUnavailableError as error:
            _log.warning("lease.kept", lease=job.lease, reason=str(error))
