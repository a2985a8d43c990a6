"""Which blobs clients were told to be here: those they leave out of a push whose manifest is still to come."""

from mirror.core.ports import Clock
from mirror.oci.names import Digest, Repository

KEPT = 600.0
"""Seconds for which a client may rely on what it was told."""


class Asked:
    """The blobs that were found for somebody a short while ago."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: dict[tuple[Repository, Digest], float] = {}  # the oldest first

    def note(self, repository: Repository, digest: Digest) -> None:
        """A client was told that the repository holds this blob."""
        now = self._clock.monotonic()
        self._told.pop((repository, digest), None)
        self._told[repository, digest] = now
        while self._told[oldest := next(iter(self._told))] <= now - KEPT:
            del self._told[oldest]

    def was(self, repository: Repository, digest: Digest) -> bool:
        """Whether a client relies on it."""
        told = self._told.get((repository, digest))
        return told is not None and told > self._clock.monotonic() - KEPT
