"""Containers: what runs, or ran, from the images here."""

from collections.abc import Sequence

from mirror.containerd.channel import Channel
from mirror.core.ports import Container
from mirror.pb.containers_pb2 import ListContainersRequest
from mirror.pb.containers_pb2_grpc import ContainersStub


class ContainerRecords:
    """Implements `mirror.core.ports.Containers` for those that are on the snapshotter `snapshotter`."""

    def __init__(self, channel: Channel, snapshotter: str) -> None:
        self._channel = channel
        self._snapshotter = snapshotter
        self._stub = ContainersStub(channel.grpc)

    async def list(self) -> Sequence[Container]:
        """See `Containers.list`."""
        answer = await self._channel.call(self._stub.List, ListContainersRequest())
        ours = [container for container in answer.containers if container.snapshotter == self._snapshotter]
        return [Container(container.image, container.snapshot_key) for container in ours]
