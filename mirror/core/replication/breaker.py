"""A circuit breaker: while an upstream is away, one probe now and then asks for it, and nobody else does."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import StrEnum

import structlog

from mirror.core.errors import UpstreamError
from mirror.core.jobs import LONGEST_RETRY_AFTER, Backoff, Random
from mirror.core.ports import Clock
from mirror.core.signal import Signal

_log = structlog.get_logger(__name__)
_FAILURES = 3
NEVER = sys.maxsize
"""So many failures in a row that it does not open for them."""


class Condition(StrEnum):
    """How an upstream is: AWAY until a probe gets through, RESTING for as long as it asked for, else OK."""

    OK = "ok"
    AWAY = "away"
    RESTING = "resting"


class Breaker:
    """Open after some `failures` in a row, until a probe gets through; or for as long as a Retry-After asks for.

    A failure is one that says nothing about the request itself (`UpstreamError.away`). Whoever talks to the upstream
    does so within `guard`.
    """

    def __init__(
        self, *, clock: Clock, random: Random, backoff: Backoff, failures: int = _FAILURES, name: str = ""
    ) -> None:
        self._clock = clock
        self._opens_after = failures
        self._name = name
        self._random = random
        self._backoff = backoff
        self._failures = 0
        self._rests_until = 0.0
        self._reason = ""
        self._since = 0.0
        self._turned = Signal()
        self._hurried = Signal()

    @property
    def is_open(self) -> bool:
        """Whether the upstream is away, or wants to be left alone."""
        return self.condition is not Condition.OK

    @property
    def condition(self) -> Condition:
        """How the upstream is, by what is known of it."""
        if self._is_away:
            return Condition.AWAY
        return Condition.RESTING if self._rest > 0 else Condition.OK

    @property
    def reason(self) -> str:
        """What it was opened for, in the upstream's words where it had any; empty while it is closed."""
        return self._reason if self.is_open else ""

    @property
    def since(self) -> float | None:
        """Unix time at which it was opened; None while it is closed."""
        return self._since if self.is_open else None

    @property
    def _is_away(self) -> bool:
        return self._failures >= self._opens_after

    @property
    def _rest(self) -> float:
        return self._rests_until - self._clock.monotonic()

    @asynccontextmanager
    async def guard(self) -> AsyncIterator[None]:
        """Around a request: it is refused while the breaker is open, and how it ends is counted.

        Raises:
            UpstreamError: the upstream is away, or wants to be left alone.
        """
        if self._is_away:
            raise UpstreamError(f"the upstream is away: {self._reason}", transient=True)
        if self._rest > 0:
            raise UpstreamError(f"the upstream asked for time: {self._reason}", transient=True, retry_after=self._rest)
        try:
            yield
        except UpstreamError as error:
            self._count(error)
            raise
        self._count(None)

    def _count(self, error: UpstreamError | None) -> None:
        if self._is_away:  # an answer that was on its way when it opened is no probe
            return
        was_open = self.is_open
        if error is not None and error.retry_after:
            self._rests_until = self._clock.monotonic() + min(error.retry_after, LONGEST_RETRY_AFTER)
            self._open(error, was_open=was_open)
            _log.warning("upstream.rests", upstream=self._name, reason=self._reason)
        if error is None or not error.away:
            self._failures = 0
            return
        self._failures += 1
        if self._is_away:
            self._open(error, was_open=was_open)
            _log.warning("upstream.away", upstream=self._name, reason=self._reason)

    def _open(self, error: UpstreamError, *, was_open: bool) -> None:
        self._reason = str(error)
        self._since = self._since if was_open else self._clock.now()
        self._turned.fire()

    async def watch(self, probe: Callable[[], Awaitable[None]], back: Callable[[bool], Awaitable[None]]) -> None:
        """Close it when it is time to, for as long as the daemon runs.

        `back` is called each time that requests may pass again; whether the upstream was really away, so that even its
        first probe had failed.
        """
        while True:
            event = self._turned.arm()
            if self._is_away:
                probes = await self._until_back(probe)
                self._failures = 0
                _log.warning("upstream.back", upstream=self._name, probes=probes)
                await back(probes > 1)
            elif (rest := self._rest) > 0:
                await self._clock.sleep(rest)
                await back(False)
            else:
                await self._clock.wait(event, None)

    def hurry(self) -> None:
        """Probe at once, if the upstream is away: a person says that it is back."""
        self._hurried.fire()

    async def _until_back(self, probe: Callable[[], Awaitable[None]]) -> int:
        """Probe until there is an answer; returns how many probes it took."""
        probes = 0
        while True:
            await self._clock.wait(self._hurried.arm(), self._backoff.delay(probes, self._random))
            probes += 1
            try:
                await probe()
            except UpstreamError as error:
                self._reason = str(error)
            else:
                return probes
