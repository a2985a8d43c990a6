"""Bytes per second: limits that streams share, and that may be changed while they run."""

from collections.abc import AsyncIterator, Iterator, Mapping

import structlog

from mirror.core.ports import Clock
from mirror.core.signal import Signal
from mirror.oci.errors import Problem, RegistryError

_log = structlog.get_logger(__name__)
_SMALLEST_PIECE = 16 * 1024
_PIECES_PER_SECOND = 4


class Pace:
    """A limit on the bytes per second of several streams together; `rate` None is no limit."""

    def __init__(self, clock: Clock, rate: int | None) -> None:
        self._clock = clock
        self._rate = rate
        self._free_at = 0.0
        self._changed = Signal()

    @property
    def rate(self) -> int | None:
        """Bytes per second, None without a limit."""
        return self._rate

    def change(self, rate: int | None) -> None:
        """Go on at another rate, those who wait already included."""
        self._rate = rate
        self._free_at = 0.0
        self._changed.fire()

    async def spend(self, size: int) -> None:
        """Wait until `size` more bytes may go."""
        if self._rate is None:
            return
        now = self._clock.monotonic()
        turn = max(now, self._free_at)
        self._free_at = turn + size / self._rate
        if turn > now:
            await self._clock.wait(self._changed.arm(), turn - now)


class Throttle:
    """What one stream passes through: every one of its paces holds."""

    def __init__(self, *paces: Pace) -> None:
        self._paces = paces

    async def let_through(self, data: bytes) -> AsyncIterator[bytes]:
        """Hand data on, in pieces, as fast as it may go."""
        for piece in self._pieces(data):
            for pace in self._paces:
                await pace.spend(len(piece))
            yield piece

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        """Cut data so that a slow pace is a trickle, and not a gush now and then that looks like a stall between."""
        rates = [pace.rate for pace in self._paces if pace.rate is not None]
        size = max(_SMALLEST_PIECE, min(rates) // _PIECES_PER_SECOND) if rates else max(len(data), 1)
        return (data[start : start + size] for start in range(0, len(data), size))


class Limits:
    """The paces of all upstreams: one that they share, and one of each."""

    def __init__(self, clock: Clock, shared: int | None, rates: Mapping[str, int | None]) -> None:
        self._shared = Pace(clock, shared)
        self._own = {registry: Pace(clock, rate) for registry, rate in rates.items()}

    @property
    def shared(self) -> int | None:
        """Bytes per second to all upstreams together."""
        return self._shared.rate

    @property
    def own(self) -> dict[str, int | None]:
        """Bytes per second to the upstream of each registry."""
        return {registry: pace.rate for registry, pace in self._own.items()}

    def throttle(self, registry: str) -> Throttle:
        """What a stream to the upstream of a registry passes through."""
        return Throttle(self._shared, self._own[registry])

    def change(self, registry: str | None, rate: int | None) -> None:
        """Go on at another rate, to all upstreams together or to that of a registry; until the next start.

        Raises:
            RegistryError: NAME_UNKNOWN when the registry is not configured.
        """
        self._pace(registry).change(rate)
        _log.info("limits.changed", registry=registry, rate=rate)

    def _pace(self, registry: str | None) -> Pace:
        if registry is None:
            return self._shared
        if registry not in self._own:
            raise RegistryError(Problem.NAME_UNKNOWN, f"registry {registry[:255]!r}")
        return self._own[registry]
