"""Image records: containerd's names for content, which are our tags."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC

import grpc.aio
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import StatusCode

from mirror.containerd.channel import Channel, begins_with, store_errors
from mirror.core.errors import StoreUnavailableError
from mirror.core.ports import Image
from mirror.oci.manifest import Descriptor
from mirror.oci.names import Digest
from mirror.pb import images_pb2 as pb
from mirror.pb import types_pb2
from mirror.pb.images_pb2_grpc import ImagesStub

_ROUNDS = 5
_DIGITS = "0123456789abcdef"
# containerd reads all of its records for it, which takes seconds where it has a hundred thousand.
_LISTED_WITHIN = 60.0


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

    async def list(self, prefix: str) -> Sequence[Image]:
        """See `Images.list`; a record that others move meanwhile may be missing, if it is a list in parts."""
        return await self._list(begins_with("name", prefix), _DIGITS)

    async def _list(self, named: str, digits: str) -> Sequence[Image]:
        """Those whose digests begin with one of these digits; in two parts, if all are too much for one message."""
        request = pb.ListImagesRequest(filters=[f'{named},target.digest~="^sha256:[{digits}]"'])
        try:
            with store_errors(StatusCode.RESOURCE_EXHAUSTED):
                async with self._channel.patience(_LISTED_WITHIN):
                    answer = await self._channel.send(self._stub.List, request, deadline=_LISTED_WITHIN)
        except grpc.aio.AioRpcError as error:
            if len(digits) == 1:
                raise StoreUnavailableError("there are more images than containerd can list") from error
            half = len(digits) // 2
            return [*await self._list(named, digits[:half]), *await self._list(named, digits[half:])]
        # On a thread, as it may be tens of thousands that the event loop would wait for.
        return await asyncio.to_thread(lambda: [_read(image) for image in answer.images])

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
