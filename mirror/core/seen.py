"""What builders were told is here: held for a while, as they do not push it again before the manifest that names it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from mirror.core.errors import StoreUnavailableError
from mirror.core.ports import Clock, Leases
from mirror.oci.names import Digest, Repository

SEEN_LEASES = "registry-mirror/seen/"
"""What the leases begin with that hold what builders were told is here."""

_RENEWED_EVERY = 600.0
_LASTS = 1800.0
# Beyond that, content is added to the lease each time: that costs time, and no memory.
_REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class _Period:
    """A lease, when it was made (Unix time, as containerd's idea of its end is) and what is known to be in it."""

    lease: str
    made: float
    held: set[tuple[Repository, Digest]] = field(default_factory=set)


class Seen:
    """Holds content for at least 20 minutes after a builder was told of it.

    All of it shares one lease, which is followed by another after ten minutes and ends by itself after thirty. Content
    is added once to each for a repository.
    """

    def __init__(self, *, leases: Leases, clock: Clock, new_id: Callable[[], str]) -> None:
        self._leases = leases
        self._clock = clock
        self._new_id = new_id
        self._periods: list[_Period] = []  # the current one is the last
        self._renewing = asyncio.Lock()

    def lately(self, repository: Repository, digest: Digest) -> bool:
        """Whether a builder was told in this period or the one before, and may rely on it."""
        return any((repository, digest) in period.held for period in self._periods if self._lasts(period))

    async def hold(self, repository: Repository, digest: Digest) -> None:
        """Hold content of a repository, to be called before it is looked for. Raises StoreUnavailableError.

        With a full disk nothing is held, as a push would be refused then, and a pull must not be.
        """
        try:
            await self._hold(repository, digest)
        except StoreUnavailableError as error:
            if not error.full:
                raise

    async def _hold(self, repository: Repository, digest: Digest) -> None:
        period = await self._current()
        try:
            await self._add(period, repository, digest)
        except StoreUnavailableError:
            if period.lease in await self._leases.list(period.lease):
                raise
            self._forget(period)  # somebody removed the lease
            await self._add(await self._current(), repository, digest)

    async def _current(self) -> _Period:
        async with self._renewing:
            now = self._clock.now()
            if not self._periods or not 0 <= now - self._periods[-1].made < _RENEWED_EVERY:
                period = _Period(SEEN_LEASES + self._new_id(), now)
                await self._leases.create(period.lease, seconds=_LASTS)
                self._periods = [*self._periods[-1:], period]
            return self._periods[-1]

    async def _add(self, period: _Period, repository: Repository, digest: Digest) -> None:
        if (repository, digest) in period.held:
            return
        await self._leases.hold(period.lease, digest)
        if len(period.held) < _REMEMBERED:
            period.held.add((repository, digest))

    def _lasts(self, period: _Period) -> bool:
        return 0 <= self._clock.now() - period.made < _LASTS

    def _forget(self, period: _Period) -> None:
        self._periods = [other for other in self._periods if other is not period]
