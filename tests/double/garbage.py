"""containerd's garbage collection: what cannot be reached from a root is taken away, whoever brought it and when.

Nothing is safe for being new. What shall stay must be held before it is made, or before one believes that it is there.
Source: containerd, metadata/gc.go and docs/garbage-collection.md.
"""

from collections.abc import Iterator, MutableMapping
from datetime import datetime
from typing import TypeAlias, TypeVar

from mirror.oci.names import Digest
from tests.double.state import Lease, Store

EXPIRES = "containerd.io/gc.expire"
CONTENT_REFERENCE = "containerd.io/gc.ref.content"
SNAPSHOT_REFERENCE = "containerd.io/gc.ref.snapshot."

_Name = TypeVar("_Name", bound=str)
_Thing = TypeVar("_Thing")

Node: TypeAlias = tuple[str, str]
"""Kind and name, in the words of a lease's resources."""


def collect(store: Store) -> None:
    """Mark what is alive and sweep the rest."""
    alive = _alive(store)
    _sweep(store.leases, "leases", alive)
    _sweep(store.blobs, "content", alive)
    _sweep(store.ingests, "ingests", alive)
    _sweep(store.snapshots, store.snapshot_kind, alive)


def _sweep(things: MutableMapping[_Name, _Thing], kind: str, alive: set[Node]) -> None:
    for name in [name for name in things if (kind, name) not in alive]:
        del things[name]


def _alive(store: Store) -> set[Node]:
    alive: set[Node] = set()
    found = list(_roots(store))
    while found:
        node = found.pop()
        if node not in alive:
            alive.add(node)
            found += _references(store, node)
    return alive


def _roots(store: Store) -> Iterator[Node]:
    """What lives by itself: leases with what they hold, images, containers, and for a day ingests without a lease."""
    now = store.clock.now()
    for name, lease in store.leases.items():
        if not _is_over(lease, now):
            yield "leases", name
            yield from lease.resources
    for image in store.images.values():
        yield "content", image.target.digest
    for snapshotter, container in store.containers.values():
        yield f"snapshots/{snapshotter}", container.snapshot
    for ref, ingest in store.ingests.items():
        if ingest.expires is not None and ingest.expires > now:
            yield "ingests", ref


def _is_over(lease: Lease, now: float) -> bool:
    expires = lease.labels.get(EXPIRES)
    return expires is not None and datetime.fromisoformat(expires).timestamp() <= now


def _references(store: Store, node: Node) -> Iterator[Node]:
    """What a thing keeps alive: content what its labels name, a snapshot the one it stands on."""
    kind, name = node
    if kind == "content" and (blob := store.blobs.get(Digest(name))):
        for label, value in blob.labels.items():
            if label.startswith(SNAPSHOT_REFERENCE):
                yield f"snapshots/{label.removeprefix(SNAPSHOT_REFERENCE)}", value
            elif label.startswith(CONTENT_REFERENCE):
                yield "content", value
    if kind == store.snapshot_kind and (snapshot := store.snapshots.get(name)):
        yield kind, snapshot.parent
