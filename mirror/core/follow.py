"""Telling what changes, as it changes, for as long as somebody listens."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from itertools import groupby

from mirror.core.ports import Clock, Jobs
from mirror.core.progress import Board
from mirror.core.signal import Signal
from mirror.core.status import Status, status_of
from mirror.oci.names import Reference, Repository

Changes = AsyncGenerator[Status | None, None]
"""Statuses that are news, and None as a sign of life when there are none."""

_SIGN_OF_LIFE = 15.0
_PROGRESS = 1.0
# Between two looks, so that a storm of changes does not become a storm of queries for each listener.
_BREATH = 0.2
_MOST_JOBS = 1000


class Follow:
    """The use cases behind event streams.

    A listener costs nothing but his own looks at the journal, and those wait until he has taken what he was told: what
    changes twice meanwhile is told once. Every stream ends when the daemon is about to stop.
    """

    def __init__(self, *, jobs: Jobs, board: Board, clock: Clock, changed: Signal) -> None:
        self._jobs = jobs
        self._board = board
        self._clock = clock
        self._changed = changed

    def image(self, repository: Repository, reference: Reference) -> Changes:
        """The newest job of a tag or digest: where it stands, and each change until it is final."""

        async def look() -> list[Status]:
            status = status_of(await self._jobs.find(repository, reference), self._board)
            return [status] if status else []

        return self._changes(look, {}, is_over=lambda found: all(status.is_final for status in found))

    async def everything(self) -> Changes:
        """Each change of any job from now on; while more than 1000 are not over, of the oldest of them."""
        everything = _Everything(self._jobs, self._board, await self._jobs.newest())
        known = _by_job(await everything.look())
        return self._changes(everything.look, known, is_over=lambda _: False)

    async def _changes(
        self,
        look: Callable[[], Awaitable[list[Status]]],
        known: dict[int, Status],
        *,
        is_over: Callable[[list[Status]], bool],
    ) -> Changes:
        silent_since = self._clock.monotonic()
        while True:
            event = self._changed.arm()
            found = await look()
            news: list[Status | None] = [status for status in found if known.get(status.job.id) != status]
            if not news and self._clock.monotonic() - silent_since >= _SIGN_OF_LIFE:
                news = [None]
            for status in news:
                yield status
                silent_since = self._clock.monotonic()
            if is_over(found) or self._changed.closed.is_set():
                return
            known = _by_job(found)
            await self._clock.wait(self._changed.closed, _BREATH)
            await self._clock.wait(event, _PROGRESS if any(status.is_moving for status in found) else _SIGN_OF_LIFE)


class _Everything:
    """Looks at the jobs that are not over, those that are new, and those that were not over at the look before."""

    def __init__(self, jobs: Jobs, board: Board, newest: int) -> None:
        self._jobs = jobs
        self._board = board
        self._newest = newest
        self._moving: dict[int, Status] = {}

    async def look(self) -> list[Status]:
        tasks = await self._jobs.since(self._newest, _MOST_JOBS)
        by_job = groupby(tasks, key=lambda task: task.job.id)
        moving = _by_job([status for _, group in by_job if (status := status_of(group, self._board))])
        ended = [status_of(await self._jobs.tasks(job), self._board) for job in self._moving.keys() - moving.keys()]
        self._newest = max([self._newest, *moving])
        self._moving = moving
        return [*(status for status in ended if status), *moving.values()]


def _by_job(statuses: list[Status]) -> dict[int, Status]:
    return {status.job.id: status for status in statuses}
