"""The moments of a push, from its first byte to the upstream. All times are Unix time, in seconds."""

from collections.abc import Iterable
from dataclasses import dataclass

from mirror.oci.manifest import Manifest
from mirror.oci.names import Digest, Repository

_MOST = 10_000
# Longer than a push takes; who comes with a manifest after that finds what is here, and did not just send it.
_FORGOTTEN_AFTER = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Blobs:
    """A number of blobs, and their bytes altogether."""

    count: int = 0
    bytes: int = 0

    def __add__(self, other: "Blobs") -> "Blobs":
        """Both together."""
        return Blobs(self.count + other.count, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True)
class Arrival:
    """How content came here: when its first upload was begun, when its last byte was here.

    `sent` are the blobs that were uploaded for it, `present` those that were here already.
    """

    first_byte: float
    last_byte: float
    sent: Blobs = Blobs()
    present: Blobs = Blobs()


@dataclass(frozen=True, slots=True)
class Timeline:
    """The moments of a job but that of its acknowledgement, None as long as they are to come.

    `arrival` is None for what nobody sent: a delete, a tag that was made by others, a push from before it was noted.
    The first attempt is the beginning; the end is that of the attempt that left nothing to do.
    """

    arrival: Arrival | None = None
    unpack_begun: float | None = None
    unpacked: float | None = None
    replication_begun: float | None = None
    replicated: float | None = None


class Arrivals:
    """What came here of late and belongs to no push yet; of too much the oldest is forgotten."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._found: dict[tuple[Repository, Digest], Arrival] = {}

    def note(self, repository: Repository, digest: Digest, arrival: Arrival) -> None:
        """A repository was sent this."""
        self._found.pop((repository, digest), None)
        self._found[repository, digest] = arrival
        if len(self._found) > self._most:
            del self._found[next(iter(self._found))]

    def of(self, repository: Repository, manifest: Manifest, now: float) -> Arrival:
        """How a manifest came whose first byte came `now`, and what it names.

        The images of an index count with what came for them.
        """
        children = {child.digest: child for child in manifest.edges().values()}
        came = {digest: arrival for digest in children if (arrival := self._recent(repository, digest, now))}
        here = [blob.size for blob in manifest.blobs if blob.digest not in came and not blob.is_foreign]
        return _together(came.values(), Arrival(now, now, present=Blobs(len(here), sum(here))))

    def take(self, repository: Repository, manifest: Manifest, arrival: Arrival) -> None:
        """The manifest was acknowledged: nothing else came with what it names, but it may come with an index."""
        for child in manifest.edges().values():
            self._found.pop((repository, child.digest), None)
        self.note(repository, manifest.digest, arrival)

    def _recent(self, repository: Repository, digest: Digest, now: float) -> Arrival | None:
        found = self._found.get((repository, digest))
        return found if found and found.last_byte > now - _FORGOTTEN_AFTER else None


def _together(came: Iterable[Arrival], manifest: Arrival) -> Arrival:
    """What came for a manifest, and the manifest itself; its own moment counts only where nothing came for it."""
    moments = list(came) or [manifest]
    every = [*came, manifest]
    return Arrival(
        min(arrival.first_byte for arrival in moments),
        max(arrival.last_byte for arrival in moments),
        sum((arrival.sent for arrival in every), Blobs()),
        sum((arrival.present for arrival in every), Blobs()),
    )
