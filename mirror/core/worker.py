"""The loop that carries out tasks: claim, attempt, write down how it ended, and wait for the next."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from structlog.contextvars import bound_contextvars

from mirror.core.failures import Failures
from mirror.core.jobs import Backoff, Job, Kind, Outcome, Random, State, Task, decide
from mirror.core.leases import JobLeases
from mirror.core.outlast import outlast
from mirror.core.ports import Attributes, Clock, Jobs, Leases, Nobody, Observer, Rule, Tracer, Untraced
from mirror.core.signal import Signal
from mirror.core.trace import ATTEMPT, IMAGE, JOB, MANIFEST, STATE

_log = structlog.get_logger(__name__)

_OLDEST_EVERY = 4

Attempt = Callable[[Task], Awaitable[Outcome]]
"""The work of one kind of task, once."""


@dataclass(frozen=True, slots=True)
class UpstreamLimits:
    """How many tasks may run `at_once` for each upstream, and which upstreams are `away` just now.

    They are about the tasks that give way, or about those that do not: neither take the places of the others.
    """

    at_once: int
    away: Callable[[], frozenset[str]]
    newest_first: bool = False
    gives_way: bool = False


class Worker:
    """Carries out the tasks of one kind, several at once.

    `attempt` does the work and returns DONE or SKIPPED, or raises; what becomes of a failure is `decide`'s to say.
    `in_flight` names the leases of pushes that are not acknowledged yet; `failures` is told of attempts that failed.
    Being killed at any point needs no special path: what was RUNNING is PENDING again when the journal is opened.
    """

    def __init__(  # noqa: PLR0913 - its collaborators, each by name
        self,
        kind: Kind,
        attempt: Attempt,
        *,
        jobs: Jobs,
        leases: Leases,
        clock: Clock,
        random: Random,
        backoff: Backoff,
        at_once: int,
        upstreams: UpstreamLimits | None = None,
        in_flight: Callable[[], frozenset[str]],
        failures: Failures,
        changed: Signal,
        observer: Observer | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._kind = kind
        self._attempt = attempt
        self._jobs = jobs
        self._leases = leases
        self._clock = clock
        self._random = random
        self._backoff = backoff
        self._slots = asyncio.Semaphore(at_once)
        self._upstreams = upstreams or UpstreamLimits(at_once, frozenset)
        self._failures = failures
        self._running: Counter[str] = Counter()
        self._claims = 0
        self._changed = changed
        self._observer = observer or Nobody()
        self._tracer = tracer or Untraced()
        self._job_leases = JobLeases(jobs=jobs, leases=leases, clock=clock, in_flight=in_flight, changed=changed)

    async def run(self) -> None:
        """Work for as long as the daemon runs."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._slots.acquire()
                group.create_task(self._carry_out(await outlast(self._clock, self._next)))

    async def _next(self) -> Task:
        while True:
            event, now = self._changed.arm(), self._clock.now()
            rule = self._rule()
            task = await self._jobs.claim(self._kind, now, self._backoff.horizon, rule)
            if task is not None:
                self._claims += 1
                self._running[task.job.repository.registry] += 1
                return task
            due = await self._jobs.next_due(self._kind, rule)
            await self._clock.wait(event, None if due is None else max(due - now, 0.0))

    def _rule(self) -> Rule:
        """No more for the upstreams that are at their limit or away; now and then the oldest, that it gets its turn."""
        busy = {registry for registry, running in self._running.items() if running >= self._upstreams.at_once}
        newest = self._upstreams.newest_first and self._claims % _OLDEST_EVERY != _OLDEST_EVERY - 1
        return Rule(closed=self._upstreams.away() | busy, newest=newest, gives_way=self._upstreams.gives_way)

    async def _carry_out(self, task: Task) -> None:
        """Attempt a task and write down how it ended; every line of the log below names the task."""
        job = task.job
        try:
            with bound_contextvars(kind=self._kind, job=job.id, image=job.image, digest=job.digest):
                outcome, now = await self._traced(task), self._clock.now()
                self._observer.attempted(task, outcome, now)
                await outlast(self._clock, lambda: self._jobs.settle(task, outcome, now))
                await outlast(self._clock, lambda: self._job_leases.release(job))
        finally:
            self._running[job.repository.registry] -= 1
            self._slots.release()
            self._changed.fire()

    async def _traced(self, task: Task) -> Outcome:
        """Attempt a task in the trace of its push."""
        job = task.job
        said: Attributes = {JOB: job.id, IMAGE: job.image, MANIFEST: job.digest, ATTEMPT: task.attempts + 1}
        with self._tracer.joined(f"task.{self._kind}", job.trace, said) as span:
            outcome = await self._outcome(task)
            span.note({STATE: outcome.state})
            if outcome.state in {State.PENDING, State.PARKED}:
                span.fail(outcome.reason)
        return outcome

    async def _outcome(self, task: Task) -> Outcome:
        _log.info("task.started", attempt=task.attempts + 1)
        try:
            if task.attempts:
                await self._hold_again(task.job)
            outcome = await self._attempt(task)
        except Exception as error:  # noqa: BLE001 - `decide` parks what it does not know
            outcome = decide(error, task.attempts, self._clock.now(), self._backoff, self._random)
            if outcome.state is State.PARKED:
                _log.error("task.parked", reason=outcome.reason, exc_info=True)
            else:
                _log.warning("task.failed", reason=outcome.reason, due=outcome.not_before)
            self._failures.note(task, outcome)
        else:
            _log.info("task.finished", state=outcome.state, reason=outcome.reason)
        return outcome

    async def _hold_again(self, job: Job) -> None:
        """Make sure of the job's lease: that someone removed it may be why the last attempt failed."""
        if job.lease:
            await self._leases.create(job.lease)
            await self._leases.hold(job.lease, job.digest)
