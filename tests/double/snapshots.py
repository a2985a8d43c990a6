"""Snapshots: the order in which containerd makes and holds them, with layers that are checked but not unpacked."""

import secrets
from collections.abc import Sequence
from contextlib import suppress

from mirror.core import ports
from mirror.core.errors import BadLayerError, ContentMissingError, StoreUnavailableError
from mirror.core.ports import Extraction
from mirror.oci.names import Digest
from tests.double.connection import Connection
from tests.double.garbage import SNAPSHOT_REFERENCE
from tests.double.layers import diff_id
from tests.double.state import Snapshot

_OURS = "registry-mirror/extract"
_UNCOMPRESSED = "containerd.io/uncompressed"


class SnapshotsDouble:
    """Implements `mirror.core.ports.Snapshots`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._working_on: set[str] = set()

    async def exists(self, chain_id: str) -> bool:
        """See `Snapshots.exists`."""
        return chain_id in (await self._connection.reach()).snapshots

    async def hold(self, lease: str, step: Extraction) -> bool:
        """See `Snapshots.hold`."""
        store = await self._connection.reach()
        store.hold(lease, store.snapshot_kind, step.chain_id)
        layer = store.blobs.get(step.layer.digest)
        known = None if layer is None else layer.labels.get(_UNCOMPRESSED)
        return step.chain_id in store.snapshots and known == step.diff_id

    async def extract(self, step: Extraction, lease: str) -> None:
        """See `Snapshots.extract`."""
        key = f"extract-{secrets.token_hex(8)} {step.chain_id}"
        self._working_on.add(key)
        try:
            is_new = await self._prepare(key, step, lease)
            await self._apply(step)
            if is_new:
                await self._commit(key, step, lease)
        except BaseException:  # a cancelled unpack too
            await self._discard(key)
            raise
        finally:
            self._working_on.discard(key)
        await self.know(step.layer.digest, step.diff_id)

    async def know(self, layer: Digest, diff_id: str) -> None:
        """See `Snapshots.know`."""
        await self._label(layer, _UNCOMPRESSED, diff_id)

    async def attach(self, config: Digest, chain_id: str) -> None:
        """See `Snapshots.attach`."""
        store = await self._connection.reach()
        await self._label(config, SNAPSHOT_REFERENCE + store.snapshotter, chain_id)

    async def list(self) -> Sequence[ports.Snapshot]:
        """See `Snapshots.list`."""
        snapshots = (await self._connection.reach()).snapshots
        return [ports.Snapshot(key, one.parent, one.is_committed) for key, one in snapshots.items()]

    async def abandoned(self) -> Sequence[str]:
        """See `Snapshots.abandoned`."""
        snapshots = (await self._connection.reach()).snapshots
        halves = [key for key, one in snapshots.items() if not one.is_committed and _OURS in one.labels]
        return [key for key in halves if key not in self._working_on]

    async def remove(self, key: str) -> None:
        """See `Snapshots.remove`; what others stand on stays."""
        store = await self._connection.reach()
        if any(one.parent == key for one in store.snapshots.values()):
            raise StoreUnavailableError(f"containerd: FAILED_PRECONDITION: cannot remove {key} with child")
        store.snapshots.pop(key, None)

    async def _prepare(self, key: str, step: Extraction, lease: str) -> bool:
        """Make a half snapshot; False when the whole one has appeared meanwhile (it is held then)."""
        store = await self._connection.reach()
        if step.chain_id in store.snapshots:
            store.hold(lease, store.snapshot_kind, step.chain_id)
            return False
        if step.parent and step.parent not in store.snapshots:
            raise StoreUnavailableError(f"containerd: NOT_FOUND: parent snapshot {step.parent}")
        store.hold(lease, store.snapshot_kind, key)
        store.snapshots[key] = Snapshot(step.parent, labels={_OURS: "unfinished"})
        return True

    async def _apply(self, step: Extraction) -> None:
        blob = (await self._connection.reach()).blobs.get(step.layer.digest)
        if blob is None:
            raise ContentMissingError(step.layer.digest)
        try:
            found = diff_id(blob.data)
        except ValueError as error:
            raise BadLayerError(f"layer {step.layer.digest} cannot be unpacked: {error}") from error
        if found != step.diff_id:
            raise BadLayerError(f"layer {step.layer.digest} unpacks to {found}, its config says {step.diff_id}")

    async def _commit(self, key: str, step: Extraction, lease: str) -> None:
        """Give a half its name; when others were quicker theirs is held, and ours goes.

        Raises:
            StoreUnavailableError: the lease ended on the way, and the half was collected.
        """
        store = await self._connection.reach()
        if key not in store.snapshots:
            raise StoreUnavailableError(f"containerd: NOT_FOUND: snapshot {key}")
        store.hold(lease, store.snapshot_kind, step.chain_id)
        del store.snapshots[key]
        store.snapshots.setdefault(step.chain_id, Snapshot(step.parent, is_committed=True))
        store.leases[lease].resources.discard((store.snapshot_kind, key))

    async def _discard(self, key: str) -> None:
        with suppress(StoreUnavailableError):
            await self.remove(key)

    async def _label(self, digest: Digest, label: str, value: str) -> None:
        blob = (await self._connection.reach()).blobs.get(digest)
        if blob is None:
            raise ContentMissingError(digest)
        blob.labels[label] = value
