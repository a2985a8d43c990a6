"""Where an image stands, and waiting until it is where someone needs it."""

from mirror.core.jobs import Kind, State, Task
from mirror.core.ports import Clock, Jobs
from mirror.core.signal import Signal
from mirror.oci.names import Reference, Repository

FINISHED = frozenset({State.DONE, State.SKIPPED, State.PARKED})
"""States that a task does not leave by itself."""


class Watch:
    """The use cases behind `status` and `wait`."""

    def __init__(self, *, jobs: Jobs, clock: Clock, changed: Signal) -> None:
        self._jobs = jobs
        self._clock = clock
        self._changed = changed

    async def counts(self) -> dict[Kind, dict[State, int]]:
        """How many tasks of each kind are in each state."""
        counts = await self._jobs.counts()
        return {kind: {state: counts.get((kind, state), 0) for state in State} for kind in Kind}

    async def unfinished(self, limit: int) -> list[Task]:
        """Tasks that wait, run or are parked, oldest first."""
        return await self._jobs.unfinished(limit)

    async def wait(self, repository: Repository, reference: Reference, kind: Kind, seconds: float) -> Task | None:
        """Wait until a task is finished, at most `seconds`; returns it as it stands then, None when there is none."""
        deadline = self._clock.monotonic() + seconds
        while True:
            event = self._changed.arm()
            task = await self._find(repository, reference, kind)
            left = deadline - self._clock.monotonic()
            if task is None or task.state in FINISHED or left <= 0:
                return task
            await self._clock.wait(event, left)

    async def _find(self, repository: Repository, reference: Reference, kind: Kind) -> Task | None:
        tasks = await self._jobs.find(repository, reference)
        return next((task for task in tasks if task.kind is kind), None)
