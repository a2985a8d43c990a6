"""Image records: containerd's names for content, which are our tags."""

from collections.abc import Mapping
from datetime import UTC

from google.protobuf.field_mask_pb2 import FieldMask
from grpc import StatusCode

from mirror.containerd.channel import Channel, begins_with
from mirror.core.errors import StoreUnavailableError
from mirror.core.ports import Image
from mirror.oci.manifest import Descriptor
from mirror.oci.names import Digest
from mirror.pb import images_pb2 as pb
from mirror.pb import types_pb2
from mirror.pb.images_pb2_grpc import ImagesStub

_ROUNDS = 5


class ImageRecords:
    """Implements `mirror.core.ports.Images`; `labels` go on every record that it makes or moves."""

    def __init__(self, channel: Channel, labels: Mapping[str, str] | None = None) -> None:
        self._channel = channel
        self._labels = labels or {}
        self._stub = ImagesStub(channel.grpc)

    async def get(self, name: str) -> Image | None:
        """See `Images.get`."""
        request = pb.GetImageRequest(name=name)
        answer = await self._channel.attempt(self._stub.Get, request, unless=StatusCode.NOT_FOUND)
        return None if answer is None else _read(answer.image)

    async def list(self, prefix: str) -> list[Image]:
        """See `Images.list`."""
        request = pb.ListImagesRequest(filters=[begins_with("name", prefix)])
        answer = await self._channel.call(self._stub.List, request)
        return [_read(image) for image in answer.images]

    async def delete(self, name: str) -> None:
        """See `Images.delete`."""
        await self._channel.attempt(self._stub.Delete, pb.DeleteImageRequest(name=name), unless=StatusCode.NOT_FOUND)

    async def point(self, name: str, target: Descriptor) -> None:
        """See `Images.point`."""
        image = pb.Image(name=name, target=descriptor(target), labels=self._labels)
        for _ in range(_ROUNDS):
            if await self._move(image) or await self._create(image):
                return
        raise StoreUnavailableError(f"image {name} keeps being created and deleted by others")

    async def _move(self, image: pb.Image) -> bool:
        """False when there is no such record."""
        mask = FieldMask(paths=["target", *(f"labels.{key}" for key in self._labels)])
        request = pb.UpdateImageRequest(image=image, update_mask=mask)
        return await self._channel.attempt(self._stub.Update, request, unless=StatusCode.NOT_FOUND) is not None

    async def _create(self, image: pb.Image) -> bool:
        """False when somebody else made the record meanwhile."""
        request = pb.CreateImageRequest(image=image)
        return await self._channel.attempt(self._stub.Create, request, unless=StatusCode.ALREADY_EXISTS) is not None


def descriptor(ours: Descriptor) -> types_pb2.Descriptor:
    """Our descriptor in containerd's words."""
    return types_pb2.Descriptor(media_type=ours.media_type, digest=ours.digest, size=ours.size)


def _read(image: pb.Image) -> Image:
    target = image.target
    return Image(
        image.name,
        Descriptor(Digest(target.digest), target.size, target.media_type),
        image.updated_at.ToDatetime(UTC).timestamp(),
    )
