"""What goes first on the links to the upstreams: an original before a variant that was made of another one."""

from collections.abc import Iterator
from contextlib import contextmanager

from mirror.core.ports import Clock
from mirror.core.replication.turns import Wish
from mirror.core.signal import Signal

_LONGEST = 10.0
"""Seconds; whoever gets no byte of an upload for much longer ends it."""


class Precedence:
    """Shared by all upstreams, as their links begin on this host."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._first = 0
        self._changed = Signal()

    @contextmanager
    def first(self) -> Iterator[None]:
        """Be somebody who is made way for."""
        self._first += 1
        try:
            yield
        finally:
            self._first -= 1
            self._changed.fire()

    def promote(self, wish: Wish) -> None:
        """Somebody who goes first needs the same blob."""
        wish.gives_way = False
        self._changed.fire()

    async def give_way(self, wish: Wish) -> None:
        """Wait with a piece of a blob for those who go first, but not for so long that its upload is given up."""
        until = self._clock.monotonic() + _LONGEST
        while wish.gives_way and self._first and (left := until - self._clock.monotonic()) > 0:
            await self._clock.wait(self._changed.arm(), left)
