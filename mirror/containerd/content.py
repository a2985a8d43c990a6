"""The content store: blobs by digest, and the ingests that become blobs."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC
from io import FileIO
from typing import TypeAlias

import grpc.aio
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import StatusCode

from mirror.containerd.channel import Channel, store_errors
from mirror.containerd.commit import SingleCommit
from mirror.containerd.files import ContentFiles
from mirror.containerd.importer import Importer
from mirror.containerd.ingest import Patience
from mirror.core.errors import ContentMissingError, DigestMismatchError
from mirror.core.ports import Blob, Ingest
from mirror.oci.names import Digest, digest_of
from mirror.pb import content_pb2 as pb
from mirror.pb.content_pb2_grpc import ContentStub

_GC_REFERENCE = "containerd.io/gc.ref.content."
_ReadCall: TypeAlias = "grpc.aio.UnaryStreamCall[pb.ReadContentRequest, pb.ReadContentResponse]"


class ContentStore:
    """Implements `mirror.core.ports.Content`; blobs come by way of an importer.

    What `files` cannot read is read over gRPC, and everything without them.
    """

    def __init__(
        self,
        channel: Channel,
        importer: Importer,
        patience: Patience | None = None,
        *,
        files: ContentFiles | None = None,
    ) -> None:
        self._channel = channel
        self._importer = importer
        self._files = files or ContentFiles()
        self._patience = patience or Patience()
        self._stub = ContentStub(channel.grpc)
        self._commit = SingleCommit(channel)

    async def size(self, digest: Digest) -> int | None:
        """See `Content.size`."""
        request = pb.InfoRequest(digest=digest)
        answer = await self._channel.attempt(self._stub.Info, request, unless=StatusCode.NOT_FOUND)
        return None if answer is None else answer.info.size

    async def list(self) -> AsyncIterator[Blob]:
        """See `Content.list`; closing the generator ends the call."""
        async for answer in self._channel.stream(self._stub.List, pb.ListContentRequest()):
            for info in answer.info:
                yield Blob(Digest(info.digest), info.size, info.created_at.ToDatetime(UTC).timestamp())

    async def delete(self, digest: Digest) -> None:
        """See `Content.delete`."""
        request = pb.DeleteContentRequest(digest=digest)
        await self._channel.attempt(self._stub.Delete, request, unless=StatusCode.NOT_FOUND)

    async def read(
        self, digest: Digest, offset: int = 0, length: int = 0, *, size: int | None = None
    ) -> AsyncIterator[bytes]:
        """See `Content.read`; closing the generator ends the call, and closes the file."""
        if size is None and self._files.are_known:
            size = await self.size(digest)
        if size is not None:
            end = min(offset + length, size) if length else size
            async with aclosing(self._files.read(digest, size, range(offset, end))) as pieces:
                async for data in pieces:
                    yield data
                    offset += len(data)
            if offset >= end:
                return
            length = end - offset
        async with aclosing(self._streamed(digest, offset, length)) as chunks:
            async for data in chunks:
                yield data

    async def file(self, digest: Digest, size: int) -> FileIO | None:
        """See `Content.file`."""
        return await self._files.open(digest, size)

    async def _streamed(self, digest: Digest, offset: int, length: int) -> AsyncGenerator[bytes]:
        """As `read`, over gRPC."""
        call = self._stub.Read(
            pb.ReadContentRequest(digest=digest, offset=offset, size=length), metadata=self._channel.metadata()
        )
        try:
            while chunk := await self._next(call, digest):
                yield chunk
        finally:
            call.cancel()

    async def _next(self, call: _ReadCall, digest: Digest) -> bytes:
        """The next chunk, empty at the end."""
        try:
            with store_errors(StatusCode.NOT_FOUND):
                async with self._channel.patience(self._patience.message):
                    answer = await call.read()
        except grpc.aio.AioRpcError as error:
            raise ContentMissingError(digest) from error
        return answer.data if isinstance(answer, pb.ReadContentResponse) else b""

    async def ingest(self, ref: str, lease: str) -> Ingest:
        """See `Content.ingest`."""
        return await self._importer.open(ref, lease)

    async def ingested(self, ref: str) -> int | None:
        """See `Content.ingested`."""
        return await self._importer.offset(ref)

    async def ingests(self, prefix: str) -> Sequence[str]:
        """See `Content.ingests`."""
        return await self._importer.refs(prefix)

    async def abort(self, ref: str) -> None:
        """See `Content.abort`."""
        await self._importer.abort(ref)

    async def put(self, data: bytes, digest: Digest, lease: str, edges: Mapping[str, Digest]) -> None:
        """See `Content.put`."""
        if digest_of(data) != digest:
            raise DigestMismatchError(f"the manifest is not {digest}")
        labels = {_GC_REFERENCE + place: child for place, child in edges.items()}
        if not await self._commit_at_once(data, lease, labels):
            await self.label(digest, labels)

    async def references(self, digest: Digest) -> set[Digest]:
        """See `Content.references`."""
        labels = await self.labels(digest)
        return {Digest(child) for label, child in labels.items() if label.startswith(_GC_REFERENCE)}

    async def _commit_at_once(self, data: bytes, lease: str, labels: Mapping[str, str]) -> bool:
        """Write and commit in one message; False when the store already had the content (its labels stay)."""
        ref = f"registry-mirror/put/{secrets.token_hex(8)}"
        request = pb.WriteContentRequest(action=pb.COMMIT, ref=ref, total=len(data), data=data, labels=labels)
        exists = StatusCode.ALREADY_EXISTS
        return await self._commit.send(request, lease, self._patience.whole, exists) is not exists

    async def labels(self, digest: Digest) -> Mapping[str, str]:
        """The labels on content; none when the store does not hold it."""
        request = pb.InfoRequest(digest=digest)
        answer = await self._channel.attempt(self._stub.Info, request, unless=StatusCode.NOT_FOUND)
        return {} if answer is None else dict(answer.info.labels)

    async def label(self, digest: Digest, labels: Mapping[str, str]) -> None:
        """Add labels to content, or change them; those not named stay.

        Raises:
            ContentMissingError: the store does not hold the content.
        """
        mask = FieldMask(paths=[f"labels.{key}" for key in labels])
        request = pb.UpdateRequest(info=pb.Info(digest=digest, labels=labels), update_mask=mask)
        if labels and await self._channel.attempt(self._stub.Update, request, unless=StatusCode.NOT_FOUND) is None:
            raise ContentMissingError(digest)
