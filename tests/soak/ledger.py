"""What was promised: every manifest that was acknowledged, and which of the pushes of a tag may be its last."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from threading import Lock

_NEVER = -1


@dataclass
class Attempt:
    """A push of a tag. Begin and end are points in the order of all that the pushers saw.

    One that failed may have been acknowledged all the same, and the answer lost.
    """

    digest: str
    begun: int
    ended: int = _NEVER
    is_acknowledged: bool = False


class Ledger:
    """Written by all pushers at once."""

    def __init__(self) -> None:
        self.manifests: set[tuple[str, str]] = set()
        """Repository and digest of everything that was acknowledged."""
        self.referrers: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        """Repository and digest of a subject → what was acknowledged about it."""
        self._tags: defaultdict[tuple[str, str], list[Attempt]] = defaultdict(list)
        self._order = count()
        self._lock = Lock()

    @contextmanager
    def attempt(self, repository: str, tag: str, digest: str) -> Iterator[None]:
        """Around a push of a tag, which is acknowledged unless it raises."""
        with self._lock:
            attempt = Attempt(digest, next(self._order))
            self._tags[repository, tag].append(attempt)
        try:
            yield
            self.acknowledge(repository, digest)
            attempt.is_acknowledged = True
        finally:
            with self._lock:
                attempt.ended = next(self._order)

    def acknowledge(self, repository: str, digest: str, subject: str = "") -> None:
        """A manifest was answered with 201."""
        with self._lock:
            self.manifests.add((repository, digest))
            if subject:
                self.referrers[repository, subject].add(digest)

    def tags(self) -> Iterator[tuple[str, str, set[str | None]]]:
        """Each repository and tag, and what it may stand for now; None: it may be missing."""
        for (repository, tag), attempts in self._tags.items():
            yield repository, tag, _last(attempts)


def _last(attempts: list[Attempt]) -> set[str | None]:
    """The pushes that no acknowledged one came after for certain, as those do that begin when the other had ended."""
    acknowledged = [attempt.begun for attempt in attempts if attempt.is_acknowledged]
    newest = max(acknowledged, default=_NEVER)
    last: set[str | None] = {attempt.digest for attempt in attempts if attempt.ended > newest}
    return last if acknowledged else last | {None}
