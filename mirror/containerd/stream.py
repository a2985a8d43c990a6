"""The long way into the content store, which is always open: through containerd, message by message."""

from collections.abc import Sequence

from grpc import StatusCode

from mirror.containerd.channel import Channel, begins_with
from mirror.containerd.ingest import BlobIngest, Patience, WriteStream
from mirror.containerd.locks import when_free
from mirror.core.ports import Clock
from mirror.pb import content_pb2 as pb
from mirror.pb.content_pb2_grpc import ContentStub


class StreamImporter:
    """Implements `mirror.containerd.importer.Importer`: uploads are containerd's ingests, which their leases hold.

    The clock paces the wait for a ref that is still locked.
    """

    def __init__(self, channel: Channel, clock: Clock, patience: Patience | None = None) -> None:
        self._channel = channel
        self._clock = clock
        self._patience = patience or Patience()
        self._stub = ContentStub(channel.grpc)

    async def open(self, ref: str, lease: str) -> BlobIngest:
        """See `Importer.open`."""
        return await when_free(self._clock, lambda: self._open(ref, lease))

    async def _open(self, ref: str, lease: str) -> BlobIngest:
        stream = WriteStream(self._channel, lease)
        await stream.send(pb.WriteContentRequest(action=pb.STAT, ref=ref), self._patience.message)
        state = await stream.answer(self._patience.whole)
        return BlobIngest(stream, state, self._patience)

    async def offset(self, ref: str) -> int | None:
        """See `Importer.offset`."""
        request = pb.StatusRequest(ref=ref)
        answer = await self._channel.attempt(self._stub.Status, request, unless=StatusCode.NOT_FOUND)
        return None if answer is None else answer.status.offset

    async def abort(self, ref: str) -> None:
        """See `Importer.abort`."""
        request = pb.AbortRequest(ref=ref)
        await when_free(
            self._clock, lambda: self._channel.attempt(self._stub.Abort, request, unless=StatusCode.NOT_FOUND)
        )

    async def refs(self, prefix: str) -> Sequence[str]:
        """See `Importer.refs`."""
        request = pb.ListStatusesRequest(filters=[begins_with("ref", prefix)])
        answer = await self._channel.call(self._stub.ListStatuses, request)
        return [status.ref for status in answer.statuses]
