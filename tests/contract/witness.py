"""Looking behind the ports, and doing what other tools do, on either containerd of the contract tests."""

import asyncio
from typing import Protocol

from mirror.containerd.channel import Channel
from mirror.core.ports import Change, Container
from mirror.oci.names import Digest
from mirror.pb.images_pb2 import GetImageRequest
from mirror.pb.images_pb2_grpc import ImagesStub
from mirror.pb.snapshots_pb2 import PrepareSnapshotRequest
from mirror.pb.snapshots_pb2_grpc import SnapshotsStub
from tests.contract.store import content_labels, held, lease_labels, unpacked
from tests.double.garbage import collect
from tests.double.state import Snapshot, Store
from tests.rig.containerd import Containerd

Labels = dict[str, str]


class Witness(Protocol):
    """What containerd has, by itself; and the hands of its operator."""

    async def contents(self) -> set[str]:
        """The digests in the content store."""

    async def ingests(self) -> set[str]:
        """The refs of the writes that are not finished."""

    async def leases(self) -> set[str]:
        """The ids of the leases."""

    async def images(self) -> dict[str, str]:
        """The image records: name → digest."""

    async def snapshots(self) -> dict[str, str]:
        """The snapshots, unfinished ones included: key → parent."""

    async def held(self, lease: str) -> set[tuple[str, str]]:
        """What a lease names: kind and name."""

    async def content_labels(self, digest: Digest) -> Labels:
        """The labels on a blob."""

    async def lease_labels(self, lease: str) -> Labels:
        """The labels on a lease."""

    async def image_labels(self, name: str) -> Labels:
        """The labels on an image record."""

    async def collect_garbage(self) -> None:
        """Let it take away everything that nothing refers to."""

    async def label_content(self, digest: Digest, key: str, value: str) -> None:
        """Put a label on a blob."""

    async def label_image(self, name: str, key: str, value: str) -> None:
        """Put a label on an image record."""

    async def tag(self, name: str, other: str) -> None:
        """Give an image another name."""

    async def remove_image(self, name: str) -> None:
        """Remove an image record."""

    async def remove_content(self, digest: Digest) -> None:
        """Remove a blob, whatever refers to it."""

    async def prepare(self, key: str, lease: str) -> None:
        """Begin to unpack, as kubelet does."""

    async def create_container(self, image: str, name: str, chain_id: str) -> None:
        """Make a container from an image that is unpacked up to `chain_id`; its snapshot has its name."""

    async def remove_container(self, name: str) -> None:
        """Remove a container with its snapshot."""

    async def kill(self) -> None:
        """Let containerd die."""

    async def start(self) -> None:
        """Start it again."""


async def halves(witness: Witness) -> set[str]:
    """The snapshots that an unpack has not finished."""
    return {key for key in await witness.snapshots() if key.startswith("extract-")}


class RealWitness:
    """Implements `Witness` with ctr, and over gRPC where ctr does not tell."""

    def __init__(self, containerd: Containerd, channel: Channel, snapshotter: str) -> None:
        self._containerd = containerd
        self._channel = channel
        self._snapshotter = snapshotter

    async def contents(self) -> set[str]:
        """See `Witness`."""
        return self._containerd.contents()

    async def ingests(self) -> set[str]:
        """See `Witness`."""
        return self._containerd.ingests()

    async def leases(self) -> set[str]:
        """See `Witness`."""
        return self._containerd.leases()

    async def images(self) -> dict[str, str]:
        """See `Witness`."""
        return self._containerd.images()

    async def snapshots(self) -> dict[str, str]:
        """See `Witness`."""
        return {key: info.parent for key, info in (await unpacked(self._channel)).items()}

    async def held(self, lease: str) -> set[tuple[str, str]]:
        """See `Witness`."""
        return await held(self._channel, lease)

    async def content_labels(self, digest: Digest) -> Labels:
        """See `Witness`."""
        return await content_labels(self._channel, digest)

    async def lease_labels(self, lease: str) -> Labels:
        """See `Witness`."""
        return await lease_labels(self._channel, lease)

    async def image_labels(self, name: str) -> Labels:
        """See `Witness`."""
        answer = await self._channel.call(ImagesStub(self._channel.grpc).Get, GetImageRequest(name=name))
        return dict(answer.image.labels)

    async def collect_garbage(self) -> None:
        """See `Witness`."""
        self._containerd.collect_garbage()

    async def label_content(self, digest: Digest, key: str, value: str) -> None:
        """See `Witness`."""
        self._containerd.ctr("content", "label", digest, f"{key}={value}")

    async def label_image(self, name: str, key: str, value: str) -> None:
        """See `Witness`."""
        self._containerd.ctr("images", "label", name, f"{key}={value}")

    async def tag(self, name: str, other: str) -> None:
        """See `Witness`."""
        self._containerd.ctr("images", "tag", name, other)

    async def remove_image(self, name: str) -> None:
        """See `Witness`."""
        self._containerd.ctr("images", "rm", name)

    async def remove_content(self, digest: Digest) -> None:
        """See `Witness`."""
        self._containerd.ctr("content", "rm", digest)

    async def prepare(self, key: str, lease: str) -> None:
        """See `Witness`."""
        request = PrepareSnapshotRequest(snapshotter=self._snapshotter, key=key)
        await self._channel.call(SnapshotsStub(self._channel.grpc).Prepare, request, lease=lease)

    async def create_container(self, image: str, name: str, chain_id: str) -> None:
        """See `Witness`; ctr finds out about the chain ID by itself."""
        self._containerd.ctr("containers", "create", image, name)
        assert (await self.snapshots())[name] == chain_id

    async def remove_container(self, name: str) -> None:
        """See `Witness`."""
        self._containerd.ctr("containers", "rm", name)

    async def kill(self) -> None:
        """See `Witness`."""
        self._containerd.kill()

    async def start(self) -> None:
        """See `Witness`."""
        self._containerd.start()


class DoubleWitness:
    """Implements `Witness` on the double. Looking lets others go on, as it does with the real one."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def contents(self) -> set[str]:
        """See `Witness`."""
        return set(self._store.blobs)

    async def ingests(self) -> set[str]:
        """See `Witness`."""
        return set(self._store.ingests)

    async def leases(self) -> set[str]:
        """See `Witness`."""
        return set(self._store.leases)

    async def images(self) -> dict[str, str]:
        """See `Witness`."""
        return {name: image.target.digest for name, image in self._store.images.items()}

    async def snapshots(self) -> dict[str, str]:
        """See `Witness`."""
        await asyncio.sleep(0)
        return {key: snapshot.parent for key, snapshot in self._store.snapshots.items()}

    async def held(self, lease: str) -> set[tuple[str, str]]:
        """See `Witness`."""
        return set(self._store.leases[lease].resources)

    async def content_labels(self, digest: Digest) -> Labels:
        """See `Witness`."""
        return dict(self._store.blobs[digest].labels)

    async def lease_labels(self, lease: str) -> Labels:
        """See `Witness`."""
        return dict(self._store.leases[lease].labels)

    async def image_labels(self, name: str) -> Labels:
        """See `Witness`."""
        return dict(self._store.image_labels[name])

    async def collect_garbage(self) -> None:
        """See `Witness`."""
        collect(self._store)

    async def label_content(self, digest: Digest, key: str, value: str) -> None:
        """See `Witness`."""
        self._store.blobs[digest].labels[key] = value

    async def label_image(self, name: str, key: str, value: str) -> None:
        """See `Witness`."""
        self._store.image_labels[name] = {key: value}

    async def tag(self, name: str, other: str) -> None:
        """See `Witness`."""
        image = self._store.images[name]
        self._store.images[other] = image
        self._store.tell(Change("/images/create", other))

    async def remove_image(self, name: str) -> None:
        """See `Witness`."""
        del self._store.images[name]
        self._store.tell(Change("/images/delete", name))

    async def remove_content(self, digest: Digest) -> None:
        """See `Witness`."""
        del self._store.blobs[digest]

    async def prepare(self, key: str, lease: str) -> None:
        """See `Witness`."""
        self._store.hold(lease, self._store.snapshot_kind, key)
        self._store.snapshots[key] = Snapshot("")

    async def create_container(self, image: str, name: str, chain_id: str) -> None:
        """See `Witness`."""
        self._store.snapshots[name] = Snapshot(chain_id)
        self._store.containers[name] = self._store.snapshotter, Container(image, name)

    async def remove_container(self, name: str) -> None:
        """See `Witness`."""
        del self._store.containers[name], self._store.snapshots[name]

    async def kill(self) -> None:
        """See `Witness`."""
        self._store.kill()

    async def start(self) -> None:
        """See `Witness`."""
        self._store.away = False
