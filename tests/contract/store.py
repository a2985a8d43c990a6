"""What the contract tests of the containerd room do over and over, and what they read behind its back."""

import hashlib
import secrets

from mirror.containerd.channel import Channel
from mirror.core.ports import Content
from mirror.oci.names import Digest, digest_of
from mirror.pb.content_pb2 import InfoRequest
from mirror.pb.content_pb2_grpc import ContentStub
from mirror.pb.leases_pb2 import ListRequest, ListResourcesRequest
from mirror.pb.leases_pb2_grpc import LeasesStub
from mirror.pb.snapshots_pb2 import Info, ListSnapshotsRequest
from mirror.pb.snapshots_pb2_grpc import SnapshotsStub
from tests.rig.containerd import Containerd

SNAPSHOTTERS = (Containerd.snapshotter, "native")
"""Those that containerd has on every host."""
REFERENCE = "containerd.io/gc.ref.content."
"""What the labels begin with by which content keeps other content."""
EMPTY = Digest(f"sha256:{hashlib.sha256().hexdigest()}")


def fresh(size: int = 1000) -> tuple[bytes, Digest]:
    """Bytes that no other test has written, and their digest."""
    data = secrets.token_bytes(size)
    return data, digest_of(data)


def fresh_ref() -> str:
    """The ref of an ingest that is this test's alone."""
    return f"registry-mirror/upload/{secrets.token_hex(8)}"


async def store(content: Content, data: bytes, lease: str) -> Digest:
    """Write a blob as a push does."""
    ingest = await content.ingest(fresh_ref(), lease)
    await ingest.write(data)
    await ingest.commit(digest_of(data))
    return digest_of(data)


async def load(content: Content, digest: Digest) -> bytes:
    """Read a whole blob."""
    return b"".join([chunk async for chunk in content.read(digest)])


async def content_labels(channel: Channel, digest: Digest) -> dict[str, str]:
    """The labels on a blob."""
    return dict((await channel.call(ContentStub(channel.grpc).Info, InfoRequest(digest=digest))).info.labels)


async def lease_labels(channel: Channel, lease: str) -> dict[str, str]:
    """The labels on a lease."""
    every = await channel.call(LeasesStub(channel.grpc).List, ListRequest())
    return next(dict(one.labels) for one in every.leases if one.id == lease)


async def held(channel: Channel, lease: str) -> set[tuple[str, str]]:
    """What a lease names: kind and name."""
    answer = await channel.call(LeasesStub(channel.grpc).ListResources, ListResourcesRequest(id=lease))
    return {(resource.type, resource.id) for resource in answer.resources}


async def kept(channel: Channel, lease: str) -> set[str]:
    """The content that a lease keeps: what it names, and what that refers to."""
    named = {name for kind, name in await held(channel, lease) if kind == "content"}
    labels = [await content_labels(channel, Digest(name)) for name in named]
    return named | {child for of in labels for label, child in of.items() if label.startswith(REFERENCE)}


async def unpacked(channel: Channel) -> dict[str, Info]:
    """The snapshots by key, whoever's they are, unfinished ones included."""
    found: dict[str, Info] = {}
    for snapshotter in SNAPSHOTTERS:
        request = ListSnapshotsRequest(snapshotter=snapshotter)
        answers = SnapshotsStub(channel.grpc).List(request, metadata=channel.metadata())
        found |= {info.name: info async for answer in answers for info in answer.info}
    return found


async def halves(channel: Channel) -> set[str]:
    """The snapshots that an unpack has not finished."""
    return {key for key in await unpacked(channel) if key.startswith("extract-")}
