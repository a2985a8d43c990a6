"""Where an image stands, and waiting until it is where someone needs it."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from mirror.core.errors import JournalUnavailableError
from mirror.core.jobs import FINISHED, Kind, State, Task
from mirror.core.ports import Clock, Jobs
from mirror.core.progress import Board
from mirror.core.signal import Signal
from mirror.core.status import Phase, Status, status_of
from mirror.oci.names import Reference, Repository

_Found = TypeVar("_Found")


class Watch:
    """The use cases behind `status` and `wait`. Every wait ends when the daemon is about to stop."""

    def __init__(self, *, jobs: Jobs, board: Board, clock: Clock, changed: Signal) -> None:
        self._jobs = jobs
        self._board = board
        self._clock = clock
        self._changed = changed

    @property
    def is_stopping(self) -> bool:
        """Whether waits end before their time."""
        return self._changed.closed.is_set()

    async def counts(self) -> dict[Kind, dict[State, int]]:
        """How many tasks of each kind are in each state."""
        counts = await self._jobs.counts()
        return {kind: {state: counts.get((kind, state), 0) for state in State} for kind in Kind}

    async def unfinished(self, limit: int) -> list[Task]:
        """Tasks that wait, run or are parked, oldest first."""
        return await self._jobs.unfinished(limit)

    async def status(self, repository: Repository, reference: Reference) -> Status | None:
        """Where the newest job of a tag or digest stands, None when there is none."""
        return status_of(await self._jobs.find(repository, reference), self._board)

    async def wait(self, repository: Repository, reference: Reference, kind: Kind, seconds: float) -> Task | None:
        """Wait until a task is finished, at most `seconds`; returns it as it stands then, None when there is none."""

        async def find() -> Task | None:
            tasks = await self._jobs.find(repository, reference)
            return next((task for task in tasks if task.kind is kind), None)

        return await self._until(find, lambda task: task is None or task.state in FINISHED, seconds)

    async def upstream(self, job_ids: list[int], seconds: float) -> Phase:
        """Wait until jobs are through with the upstream, well or not, at most `seconds`.

        Returns REPLICATED when all of them are, or else how far the first of the others is: REPLICATING if the journal
        does not say, as whoever asks has had his acknowledgement.
        """

        async def find() -> list[Status]:
            found = [status_of(await self._jobs.tasks(job_id), self._board) for job_id in job_ids]
            return [status for status in found if status]

        try:
            statuses = await self._until(find, lambda found: all(status.is_settled for status in found), seconds)
        except JournalUnavailableError:
            return Phase.REPLICATING
        others = (status.phase for status in statuses if status.phase is not Phase.REPLICATED)
        return next(others, Phase.REPLICATED)

    async def _until(
        self, find: Callable[[], Awaitable[_Found]], is_over: Callable[[_Found], bool], seconds: float
    ) -> _Found:
        deadline = self._clock.monotonic() + seconds
        while True:
            event = self._changed.arm()
            found = await find()
            left = deadline - self._clock.monotonic()
            if is_over(found) or left <= 0 or self.is_stopping:
                return found
            await self._clock.wait(event, left)
