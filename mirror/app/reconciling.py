"""What compares the journal with containerd, wired together."""

from mirror.app.rooms import Rooms
from mirror.core.publish import ManifestPush
from mirror.core.push import BlobPush
from mirror.core.reconcile.deep import DeepCheck, Hasher
from mirror.core.reconcile.mend import Mender
from mirror.core.reconcile.rounds import Reconciler
from mirror.core.reconcile.survey import Stores, Surveyor
from mirror.core.replication.restore import Restorer
from mirror.core.signal import Signal
from mirror.core.through.fetch import Fetcher


def make_reconciler(
    rooms: Rooms,
    registries: frozenset[str],
    *,
    blob_push: BlobPush,
    manifest_push: ManifestPush,
    restorer: Restorer,
    fetcher: Fetcher,
    changed: Signal,
) -> Reconciler:
    """The rounds, and all that they consist of; pushes, pulls and restores say what is on its way."""

    def in_flight() -> frozenset[str]:
        return blob_push.in_flight() | manifest_push.in_flight() | restorer.in_flight() | fetcher.in_flight()

    stores = Stores(
        content=rooms.content,
        images=rooms.images,
        leases=rooms.leases,
        snapshots=rooms.snapshots,
        grants=rooms.grants,
        jobs=rooms.jobs,
        uploads=rooms.uploads,
    )
    surveyor, hasher = Surveyor(stores, in_flight, registries, rooms.clock), Hasher(rooms.content)
    mender = Mender(
        stores=stores,
        surveyor=surveyor,
        manifest_push=manifest_push,
        restorer=restorer,
        hasher=hasher,
        changed=changed,
    )
    deep = DeepCheck(surveyor=surveyor, hasher=hasher, stores=stores, clock=rooms.clock)
    return Reconciler(
        surveyor=surveyor, mender=mender, deep=deep, grants=rooms.grants, events=rooms.events, clock=rooms.clock
    )
