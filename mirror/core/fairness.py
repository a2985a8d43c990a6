"""What everybody may have of something: so much in a time, so many at once. Pure, but for the clock."""

import math
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from mirror.core.ports import Clock
from mirror.oci.errors import Problem, RegistryError

# Whoever comes from many addresses makes us forget the others' debts, and not run out of memory.
_REMEMBERED = 10_000


class Meter:
    """At most `rate` requests per second of each party, and `burst` at once after a pause; a rate of 0 is no limit.

    Of a party it is remembered when all that it asked for would have been due at that rate; what is past says nothing.
    """

    def __init__(self, clock: Clock, rate: float, burst: int) -> None:
        self._clock = clock
        self.rate = rate
        self.burst = burst
        self._due = OrderedDict[str, float]()

    def take(self, party: str) -> None:
        """Count a request. Raises RegistryError: TOO_MANY_REQUESTS, and does not count it."""
        if not self.rate:
            return
        now = self._clock.monotonic()
        due = max(self._due.get(party, now), now) + 1 / self.rate
        wait = due - now - self.burst / self.rate
        if wait > 0:
            raise too_many(Problem.TOO_MANY_REQUESTS, f"{self.rate:g} per second", wait)
        self._due[party] = due
        self._due.move_to_end(party)
        self._forget(now)

    def _forget(self, now: float) -> None:
        while len(self._due) > _REMEMBERED or next(iter(self._due.values())) <= now:
            self._due.popitem(last=False)


class AtOnce:
    """At most so many things at once for each party; `problem` is what one more is refused with, `wait` for seconds."""

    def __init__(self, most: int, problem: Problem, wait: float) -> None:
        self.most = most
        self._problem = problem
        self._wait = wait
        self._running = Counter[str]()

    def begin(self, party: str) -> None:
        """Count one more, until `end`. Raises RegistryError."""
        if self._running[party] >= self.most:
            raise too_many(self._problem, f"{self.most} at once", self._wait)
        self._running[party] += 1

    def end(self, party: str) -> None:
        """Count one less."""
        self._running[party] -= 1
        if not self._running[party]:
            del self._running[party]

    @contextmanager
    def one(self, party: str) -> Iterator[None]:
        """Count one for a while. Raises RegistryError."""
        self.begin(party)
        try:
            yield
        finally:
            self.end(party)


def too_many(problem: Problem, limit: str, wait: float) -> RegistryError:
    """A refusal that says what the limit is, and after how many seconds it may be different."""
    return RegistryError(problem, f"the limit is {limit}", {"Retry-After": str(max(math.ceil(wait), 1))})
