"""A blob in one message: a COMMIT that carries all of its bytes, or none because they lie in the store already."""

import grpc.aio
from grpc import StatusCode

from mirror.containerd.channel import Channel, store_errors
from mirror.pb.content_pb2 import WriteContentRequest, WriteContentResponse


class SingleCommit:
    """A `Content.Write` call with one request, called as that: the only message says too that no more will come.

    It is not a call with one answer, too: containerd 1.6 answers twice, and such a call would never end.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._write = channel.grpc.unary_stream(
            "/containerd.services.content.v1.Content/Write",
            WriteContentRequest.SerializeToString,
            WriteContentResponse.FromString,
        )

    async def send(self, request: WriteContentRequest, lease: str, within: float, *answers: StatusCode) -> StatusCode:
        """Commit under a lease, within so many seconds; returns OK, or with which one of `answers` it was refused.

        Raises:
            StoreUnavailableError: it was refused with another code, or not answered.
        """
        call = self._write(request, metadata=self._channel.metadata(lease))
        try:
            with store_errors(*answers):
                async with self._channel.patience(within):
                    async for _ in call:
                        continue
        except grpc.aio.AioRpcError as error:
            return error.code()
        finally:
            call.cancel()
        return StatusCode.OK
