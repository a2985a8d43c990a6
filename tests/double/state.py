"""What one containerd has: plain data, which the rooms of this package change and `garbage` sweeps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mirror.core.errors import StoreUnavailableError
from mirror.core.ports import Change, Clock, Container, Image
from mirror.oci.names import Digest

INGEST_LIFE = 86400.0
"""How long an ingest lives that no lease holds, in seconds."""


@dataclass(slots=True)
class Blob:
    """Content. Its labels are all that containerd knows of what it refers to: it never looks into the bytes."""

    data: bytes
    created: float
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Ingest:
    """A write that is not finished. One without a lease ends at `expires` (Unix time), one with a lease with it.

    While `writer` is set, that stream has the ref to itself.
    """

    expires: float | None
    data: bytearray = field(default_factory=bytearray)
    writer: object | None = None


@dataclass(slots=True)
class Lease:
    """What it holds, as kind and name: `content`, `ingests` or `snapshots/<snapshotter>`; it need not exist."""

    labels: Mapping[str, str]
    resources: set[tuple[str, str]] = field(default_factory=set)


@dataclass(slots=True)
class Snapshot:
    """A committed layer, or an active one that is written to; `parent` is a key, empty for none."""

    parent: str
    is_committed: bool = False
    labels: dict[str, str] = field(default_factory=dict)


class Store:
    """All of it, with one namespace and one snapshotter. The clock says what has expired.

    `away` is for tests to set: nobody reaches it then, and it loses nothing.
    """

    def __init__(self, clock: Clock, snapshotter: str = "overlayfs") -> None:
        self.clock = clock
        self.snapshotter = snapshotter
        self.away = False
        self.blobs: dict[Digest, Blob] = {}
        self.ingests: dict[str, Ingest] = {}
        self.images: dict[str, Image] = {}
        self.image_labels: dict[str, dict[str, str]] = {}
        self.leases: dict[str, Lease] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.containers: dict[str, tuple[str, Container]] = {}
        """Each with the snapshotter that it is on."""
        self.followers: set[Callable[[Change | None], None]] = set()

    @property
    def snapshot_kind(self) -> str:
        """What leases and labels call our snapshots."""
        return f"snapshots/{self.snapshotter}"

    def hold(self, lease: str, kind: str, name: str) -> None:
        """Add a resource to a lease; without one nothing is held. Raises StoreUnavailableError: it does not exist."""
        if not lease:
            return
        if lease not in self.leases:
            raise StoreUnavailableError(f"containerd: NOT_FOUND: lease {lease!r}")
        self.leases[lease].resources.add((kind, name))

    def commit(self, data: bytes, digest: Digest, lease: str, labels: Mapping[str, str]) -> None:
        """Make bytes content that a lease holds; content that is there already keeps its age and other labels."""
        self.hold(lease, "content", digest)
        self.blobs.setdefault(digest, Blob(data, self.clock.now())).labels.update(labels)

    def end(self, ref: str, lease: str) -> None:
        """An ingest has become content; the lease that it was under does not name it any more."""
        self.ingests.pop(ref, None)
        if lease:
            self.leases[lease].resources.discard(("ingests", ref))

    def tell(self, change: Change | None) -> None:
        """Tell all who follow; None that there is nothing to follow any more."""
        for follower in self.followers:
            follower(change)

    def kill(self) -> None:
        """It dies, and with it every stream; what was written is still there when `away` is False again."""
        self.away = True
        for ingest in self.ingests.values():
            ingest.writer = None
        self.tell(None)
