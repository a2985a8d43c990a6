"""Before a maintenance: no new pushes, and what was acknowledged gets upstream."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import structlog

from mirror.core.jobs import State
from mirror.core.ports import Clock, Jobs
from mirror.core.signal import Signal
from mirror.oci.errors import Problem, RegistryError

_log = structlog.get_logger(__name__)
_RETRY_AFTER = "30"


class Gate:
    """Whether new pushes are taken: not while somebody holds it, nor once it is shut."""

    def __init__(self) -> None:
        self._holds = 0
        self._shut = False

    @property
    def is_open(self) -> bool:
        """Whether new pushes are taken."""
        return not (self._holds or self._shut)

    def reason(self) -> str | None:
        """Why new pushes are not taken, None when they are."""
        return None if self.is_open else "draining for maintenance"

    def check(self) -> None:
        """Refuse a new push while it is closed. Raises RegistryError: DRAINING."""
        if not self.is_open:
            raise RegistryError(Problem.DRAINING, headers={"Retry-After": _RETRY_AFTER})

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep it closed for a while."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1

    def shut(self) -> None:
        """Close it until `open`."""
        self._shut = True

    def open(self) -> None:
        """Undo `shut`."""
        self._shut = False


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a drain waits for: manifests that are being acknowledged, and tasks. Those parked wait for a person."""

    pushes: int
    pending: int
    running: int
    parked: int

    @property
    def is_still(self) -> bool:
        """Whether nothing in it moves any more."""
        return not (self.pushes or self.pending or self.running)


class Ending(StrEnum):
    """How a drain ended. After DRAINED and PARKED new pushes go on being refused."""

    DRAINED = "drained"
    PARKED = "parked"
    """All but what needs a person."""
    TIMEOUT = "timeout"
    STOPPING = "stopping"
    """The daemon was told to stop meanwhile."""


class Drain:
    """The use cases of `registry-mirror drain`.

    `in_flight` names the pushes that are not acknowledged yet; `hurry` has upstreams that are away asked at once.
    """

    def __init__(
        self,
        *,
        gate: Gate,
        jobs: Jobs,
        in_flight: Callable[[], frozenset[str]],
        hurry: Callable[[], None],
        clock: Clock,
        changed: Signal,
    ) -> None:
        self._gate = gate
        self._jobs = jobs
        self._in_flight = in_flight
        self._hurry = hurry
        self._clock = clock
        self._changed = changed

    async def run(self, seconds: float, tell: Callable[[Backlog], Awaitable[None]]) -> Ending:
        """Refuse new pushes, try what waits at once, and `tell` the backlog at each change, for at most `seconds`.

        Unless it gets to the end, by whatever it is stopped, pushes are taken again.
        """
        self._gate.open()  # this drain decides, not one before it
        with self._gate.hold():
            _log.warning("drain.started")
            await self._jobs.hurry(None)
            self._hurry()
            self._changed.fire()
            ending = await self._wait(self._clock.monotonic() + seconds, tell)
            if ending in {Ending.DRAINED, Ending.PARKED}:
                self._gate.shut()
            _log.warning("drain.ended", ending=ending)
        return ending

    @property
    def refuses(self) -> bool:
        """Whether new pushes are refused."""
        return not self._gate.is_open

    def undo(self) -> None:
        """Take new pushes again."""
        self._gate.open()
        _log.warning("drain.undone")

    async def _wait(self, deadline: float, tell: Callable[[Backlog], Awaitable[None]]) -> Ending:
        told = None
        while True:
            event = self._changed.arm()
            backlog = await self._look()
            if backlog != told:
                await tell(backlog)
                told = backlog
            left = deadline - self._clock.monotonic()
            if backlog.is_still:
                return Ending.PARKED if backlog.parked else Ending.DRAINED
            if self._changed.closed.is_set():
                return Ending.STOPPING
            if left <= 0:
                return Ending.TIMEOUT
            await self._clock.wait(event, left)

    async def _look(self) -> Backlog:
        pushes = len(self._in_flight())  # before the journal is read: a push on its way is in one or in both
        tasks = await self._jobs.backlog()
        pending, running, parked = (tasks.get(state, 0) for state in (State.PENDING, State.RUNNING, State.PARKED))
        return Backlog(pushes, pending, running, parked)
