"""Snapshots: layers unpacked one on top of the other, each committed under its chain ID."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress

import grpc.aio
from grpc import StatusCode

from mirror.containerd.channel import NO_SPACE, Channel
from mirror.containerd.content import ContentStore
from mirror.containerd.images import descriptor
from mirror.containerd.leases import LeaseManager
from mirror.core.errors import BadLayerError, ContentMissingError, StoreUnavailableError
from mirror.core.ports import Extraction, Snapshot
from mirror.oci.manifest import Descriptor
from mirror.oci.names import Digest
from mirror.pb import snapshots_pb2 as pb
from mirror.pb.diff_pb2 import ApplyRequest
from mirror.pb.diff_pb2_grpc import DiffStub
from mirror.pb.snapshots_pb2_grpc import SnapshotsStub
from mirror.pb.types_pb2 import Mount

_REFERENCE = "containerd.io/snapshot.ref"
_OURS = "registry-mirror/extract"  # a committed snapshot loses the labels that it was prepared with
_UNCOMPRESSED = "containerd.io/uncompressed"
_GC_REFERENCE = "containerd.io/gc.ref.snapshot."

_ABOUT_THE_LAYER = frozenset({StatusCode.UNKNOWN, StatusCode.UNIMPLEMENTED, StatusCode.INVALID_ARGUMENT})
# containerd has no code of its own for a bad tar or gzip: UNKNOWN, as for any failure of the operating system. These
# are the latter, which have fixed words, while a decompressor may say anything.
_ABOUT_THE_HOST = (
    NO_SPACE,
    "disk quota exceeded",
    "input/output error",
    "read-only file system",
    "too many open files",
    "cannot allocate memory",
    "resource temporarily unavailable",
    "device or resource busy",
    "permission denied",
    "operation not permitted",
    "executable file not found",
    "context canceled",
    "context deadline exceeded",
)


class Snapshotter:
    """Implements `mirror.core.ports.Snapshots` with the snapshotter `name`.

    `deadline` is what unpacking one layer may take, in seconds.
    """

    def __init__(
        self, channel: Channel, content: ContentStore, leases: LeaseManager, name: str, *, deadline: float = 900.0
    ) -> None:
        self._channel = channel
        self._content = content
        self._leases = leases
        self._name = name
        self._deadline = deadline
        self._stub = SnapshotsStub(channel.grpc)
        self._diff = DiffStub(channel.grpc)
        self._working_on: set[str] = set()

    async def exists(self, chain_id: str) -> bool:
        """See `Snapshots.exists`."""
        request = pb.StatSnapshotRequest(snapshotter=self._name, key=chain_id)
        return await self._channel.attempt(self._stub.Stat, request, unless=StatusCode.NOT_FOUND) is not None

    async def hold(self, lease: str, step: Extraction) -> bool:
        """See `Snapshots.hold`; whoever unpacks a layer labels it with what it unpacks to."""
        if not await self._keep(step.chain_id, lease):
            return False
        return (await self._content.labels(step.layer.digest)).get(_UNCOMPRESSED) == step.diff_id

    async def extract(self, step: Extraction, lease: str) -> None:
        """See `Snapshots.extract`; one that others make at the same time is taken over from them."""
        key = f"extract-{secrets.token_hex(8)} {step.chain_id}"
        self._working_on.add(key)
        try:
            mounts = await self._prepare(key, step, lease, {_REFERENCE: step.chain_id})
            if mounts is None:
                await self._hold_existing(lease, step.chain_id)
                await self._compare(key, step, lease)
            else:
                await self._apply(step, mounts)
                await self._commit(key, step.chain_id, lease)
        except BaseException:  # a cancelled unpack too: it must leave no half snapshot
            await asyncio.shield(self._discard(key))
            raise
        finally:
            self._working_on.discard(key)
        await self.know(step.layer.digest, step.diff_id)

    async def know(self, layer: Digest, diff_id: str) -> None:
        """See `Snapshots.know`."""
        await self._content.label(layer, {_UNCOMPRESSED: diff_id})

    async def attach(self, config: Digest, chain_id: str) -> None:
        """See `Snapshots.attach`."""
        await self._content.label(config, {_GC_REFERENCE + self._name: chain_id})

    async def list(self) -> Sequence[Snapshot]:
        """See `Snapshots.list`."""
        return [Snapshot(info.name, info.parent, info.kind == pb.COMMITTED) async for info in self._infos()]

    async def abandoned(self) -> Sequence[str]:
        """See `Snapshots.abandoned`; those of other unpackers look the same, but for a label of ours."""
        halves = [info.name async for info in self._infos() if info.kind == pb.ACTIVE and _OURS in info.labels]
        return [key for key in halves if key not in self._working_on]

    async def _infos(self) -> AsyncIterator[pb.Info]:
        request = pb.ListSnapshotsRequest(snapshotter=self._name)
        async for answer in self._channel.stream(self._stub.List, request):
            for info in answer.info:
                yield info

    async def remove(self, key: str) -> None:
        """See `Snapshots.remove`."""
        request = pb.RemoveSnapshotRequest(snapshotter=self._name, key=key)
        await self._channel.attempt(self._stub.Remove, request, unless=StatusCode.NOT_FOUND)

    async def _keep(self, chain_id: str, lease: str) -> bool:
        """Leased first and looked for then, as it may be collected at any moment in between."""
        await self._leases.add(lease, f"snapshots/{self._name}", chain_id)
        return await self.exists(chain_id)

    async def _prepare(
        self, key: str, step: Extraction, lease: str, labels: Mapping[str, str]
    ) -> Sequence[Mount] | None:
        """The mounts to unpack onto, None when what the labels refer to exists already."""
        labels = {**labels, _OURS: "unfinished"}
        request = pb.PrepareSnapshotRequest(snapshotter=self._name, key=key, parent=step.parent, labels=labels)
        answer = await self._channel.attempt(self._stub.Prepare, request, unless=StatusCode.ALREADY_EXISTS, lease=lease)
        return None if answer is None else list(answer.mounts)

    async def _compare(self, key: str, step: Extraction, lease: str) -> None:
        """Unpack a layer apart from the snapshot that is there, to see whether that is of it."""
        mounts = await self._prepare(key, step, lease, {})
        await self._apply(step, mounts or ())
        await self._discard(key)

    async def _apply(self, step: Extraction, mounts: Iterable[Mount]) -> None:
        request = ApplyRequest(diff=descriptor(step.layer), mounts=mounts)
        try:
            answer = await self._channel.send(self._diff.Apply, request, deadline=self._deadline)
        except grpc.aio.AioRpcError as error:
            raise _verdict(step.layer, error) from error
        if (found := answer.applied.digest) != step.diff_id:
            raise BadLayerError(f"layer {step.layer.digest} unpacks to {found}, its config says {step.diff_id}")

    async def _commit(self, key: str, chain_id: str, lease: str) -> None:
        request = pb.CommitSnapshotRequest(snapshotter=self._name, name=chain_id, key=key)
        if await self._channel.attempt(self._stub.Commit, request, unless=StatusCode.ALREADY_EXISTS, lease=lease):
            return
        await self._hold_existing(lease, chain_id)
        await self._discard(key)

    async def _hold_existing(self, lease: str, chain_id: str) -> None:
        """Lease what containerd has just said to exist, but did not lease for us."""
        if not await self._keep(chain_id, lease):
            raise StoreUnavailableError(f"snapshot {chain_id} was made and removed by others meanwhile")

    async def _discard(self, key: str) -> None:
        """Remove a half snapshot; when containerd is away, the lease that holds it sees to that later."""
        with suppress(StoreUnavailableError):
            await self.remove(key)


def _verdict(layer: Descriptor, error: grpc.aio.AioRpcError) -> Exception:
    """What a failed unpacking means: the content is gone, the layer is bad, or it was the host and may pass."""
    code, details = error.code(), error.details() or ""
    if code is StatusCode.NOT_FOUND:
        return ContentMissingError(layer.digest)
    if code in _ABOUT_THE_LAYER and not any(words in details.lower() for words in _ABOUT_THE_HOST):
        return BadLayerError(f"layer {layer.digest} cannot be unpacked: {details}")
    return StoreUnavailableError(f"containerd: {code.name}: {details}", full=NO_SPACE in details)
