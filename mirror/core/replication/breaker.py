"""A circuit breaker: while an upstream is away, one probe now and then asks for it, and nobody else."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from mirror.core.errors import UpstreamError
from mirror.core.jobs import Backoff, Random
from mirror.core.ports import Clock
from mirror.core.signal import Signal

_log = structlog.get_logger(__name__)
_FAILURES = 3


class Breaker:
    """Open after some failures in a row; closed again when a probe gets through.

    A failure is one that says nothing about the request itself (`UpstreamError.away`). Whoever talks to the upstream
    does so within `guard`.
    """

    def __init__(self, *, clock: Clock, random: Random, backoff: Backoff) -> None:
        self._clock = clock
        self._random = random
        self._backoff = backoff
        self._failures = 0
        self._reason = ""
        self._turned = Signal()

    @property
    def is_open(self) -> bool:
        """Whether the upstream is away."""
        return self._failures >= _FAILURES

    @asynccontextmanager
    async def guard(self) -> AsyncIterator[None]:
        """Around a request: it is refused while the upstream is away, and how it ends is counted.

        Raises:
            UpstreamError: the upstream is away.
        """
        if self.is_open:
            raise UpstreamError(f"the upstream is away: {self._reason}", transient=True)
        try:
            yield
        except UpstreamError as error:
            self._count(error)
            raise
        self._count(None)

    def _count(self, error: UpstreamError | None) -> None:
        if self.is_open:  # an answer that was on its way when it opened is no probe
            return
        if error is None or not error.away:
            self._failures = 0
            return
        self._failures += 1
        self._reason = str(error)
        if self.is_open:
            _log.warning("upstream.away", reason=self._reason)
            self._turned.fire()

    async def watch(self, probe: Callable[[], Awaitable[None]], back: Callable[[bool], Awaitable[None]]) -> None:
        """Probe whenever it is open, for as long as the daemon runs.

        `back` is called each time the upstream is there again; whether it was really away, or answered the first probe.
        """
        while True:
            event = self._turned.arm()
            if not self.is_open:
                await self._clock.wait(event, None)
                continue
            probes = await self._until_back(probe)
            self._failures = 0
            _log.warning("upstream.back", probes=probes)
            await back(probes > 1)

    async def _until_back(self, probe: Callable[[], Awaitable[None]]) -> int:
        """Probe until there is an answer; returns how many probes it took."""
        probes = 0
        while True:
            await self._clock.sleep(self._backoff.delay(probes, self._random))
            probes += 1
            try:
                await probe()
            except UpstreamError as error:
                self._reason = str(error)
            else:
                return probes
