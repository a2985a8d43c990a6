"""What a person does about jobs that do not get on by themselves."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from mirror.core.jobs import Kind, State, Task
from mirror.core.leases import JobLeases
from mirror.core.ports import Jobs
from mirror.core.progress import Board
from mirror.core.signal import Signal
from mirror.core.status import Status, status_of

_log = structlog.get_logger(__name__)
_REASON = "cancelled by the operator"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a wish for one job: the tasks it was granted for, or else why not."""

    job: int
    kinds: tuple[Kind, ...] = ()
    refusal: str = ""


class Operator:
    """The use cases of `registry-mirror jobs`; `hurry` has upstreams that are away asked at once.

    `stop` has the conversion for a job given up, if there is one, for a reason.
    """

    def __init__(
        self,
        *,
        jobs: Jobs,
        leases: JobLeases,
        board: Board,
        hurry: Callable[[], None],
        stop: Callable[[int, str], bool],
        changed: Signal,
    ) -> None:
        self._jobs = jobs
        self._board = board
        self._leases = leases
        self._hurry = hurry
        self._stop = stop
        self._changed = changed

    async def tasks(self, state: State | None, limit: int) -> list[Task]:
        """The tasks in a state, or else all that are not over; the oldest first."""
        return await (self._jobs.unfinished(limit) if state is None else self._jobs.in_state(state, limit))

    async def job(self, job_id: int) -> tuple[Status | None, tuple[Task, ...]]:
        """Where one job stands, and its tasks; None and none when there is no such job, or it was superseded."""
        tasks = await self._jobs.tasks(job_id)
        return status_of(tasks, self._board), tasks

    async def retry(self, job_ids: list[int]) -> list[Verdict]:
        """Make the parked and the waiting tasks of these jobs due now; how often they failed stays counted."""
        verdicts = [await self._retry(job_id) for job_id in job_ids]
        self._hurry()
        self._changed.fire()
        return verdicts

    async def retry_all(self) -> list[Verdict]:
        """The same for every job that has such tasks."""
        retried: dict[int, tuple[Kind, ...]] = {}
        for job_id, kind in await self._jobs.retry(None):
            retried[job_id] = (*retried.get(job_id, ()), kind)
        _log.info("jobs.retried", jobs=sorted(retried))
        self._hurry()
        self._changed.fire()
        return [Verdict(job_id, kinds) for job_id, kinds in sorted(retried.items())]

    async def cancel(self, job_ids: list[int]) -> list[Verdict]:
        """Give up the parked and the waiting tasks of these jobs for good, and what holds their content with them.

        A job with a task that is being attempted is refused: what an attempt leaves upstream is not known before its
        end. Only a conversion, which may wait for long and leaves nothing, is given up in the middle.
        """
        verdicts = [await self._cancel(job_id) for job_id in job_ids]
        self._changed.fire()
        return verdicts

    async def _retry(self, job_id: int) -> Verdict:
        kinds = tuple(kind for _, kind in await self._jobs.retry(job_id))
        if not kinds:
            return await self._refuse(job_id, "retry")
        _log.info("jobs.retried", jobs=[job_id], kinds=kinds)
        return Verdict(job_id, kinds)

    async def _cancel(self, job_id: int) -> Verdict:
        kinds = tuple(await self._jobs.cancel(job_id, _REASON))
        if self._stop(job_id, _REASON):
            kinds = (*kinds, Kind.CONVERT)
        if not kinds:
            return await self._refuse(job_id, "cancel")
        _log.warning("job.cancelled", job=job_id, kinds=kinds)
        for task in await self._jobs.tasks(job_id):
            await self._leases.release(task.job)
        return Verdict(job_id, kinds)

    async def _refuse(self, job_id: int, wish: str) -> Verdict:
        tasks = await self._jobs.tasks(job_id)
        if not tasks:
            return Verdict(job_id, refusal="no such job")
        running = [task.kind for task in tasks if task.state is State.RUNNING]
        if running:
            return Verdict(job_id, refusal=f"{' and '.join(running)} running: {wish} it when the attempt is over")
        states = ", ".join(f"{task.kind} {task.state}" for task in tasks)
        return Verdict(job_id, refusal=f"nothing to {wish}: {states}")
