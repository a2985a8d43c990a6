"""Who may transfer a blob next: the share of each repository first, then the small ones, then the newest deploy.

What gives way comes after all that.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from mirror.oci.names import Repository

SMALL = 1 << 20
"""Up to this size, in bytes, a blob is over so soon that it goes before any larger one."""

_LARGE = 8 << 20


@dataclass(eq=False, slots=True)
class Wish:
    """A blob of `size` bytes that waits for its turn; `since` is when its image was pushed (Unix time).

    One that `gives_way` must not delay those that do not.
    """

    repository: Repository
    size: int
    since: float
    gives_way: bool = False
    granted: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_large(self) -> bool:
        """Whether it will take its time."""
        return self.size >= _LARGE

    @property
    def rank(self) -> tuple[bool, float, int]:
        """Its place among those of repositories with the same share; the lowest goes first."""
        return self.size > SMALL, -self.since, self.size


class Turns:
    """At most `at_once` transfers together; large ones never take the last place, so that small ones get through.

    One more may give way: it takes nobody's place, and begins when no other is under way.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._waiting: list[Wish] = []
        self._running: list[Wish] = []

    @asynccontextmanager
    async def turn(self, wish: Wish) -> AsyncIterator[None]:
        """Wait for a turn, and have it."""
        self._waiting.append(wish)
        self.grant()
        try:
            await wish.granted.wait()
            yield
        finally:
            (self._running if wish.granted.is_set() else self._waiting).remove(wish)
            self.grant()

    def grant(self) -> None:
        """Let those begin who may, now that something has changed."""
        while wish := self._next():
            self._waiting.remove(wish)
            self._running.append(wish)
            wish.granted.set()

    def _next(self) -> Wish | None:
        running = [wish for wish in self._running if not wish.gives_way]
        waiting = [wish for wish in self._waiting if not wish.gives_way]
        if not running and not waiting and not self._running:
            return next(iter(self._waiting), None)
        large = sum(wish.is_large for wish in running)
        room_for_large = large < max(self._at_once - 1, 1)
        if len(running) >= self._at_once:
            return None
        share = Counter(wish.repository for wish in running)
        return min(
            (wish for wish in waiting if room_for_large or not wish.is_large),
            key=lambda wish: (share[wish.repository], wish.rank),
            default=None,
        )
