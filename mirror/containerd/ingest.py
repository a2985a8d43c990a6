"""Writing one blob: a bidirectional stream whose every message is answered with the digest of all bytes so far.

The requests never carry `expected`. With it, even on the COMMIT alone, containerd answers for a digest that it already
knows without looking at the bytes, and a caller could claim a blob it never had. The digest is compared here instead.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

import grpc.aio
from grpc import StatusCode

from mirror.containerd.channel import Channel, store_errors
from mirror.core.errors import DigestMismatchError, StoreUnavailableError
from mirror.oci.names import Digest
from mirror.pb.content_pb2 import COMMIT, WRITE, WriteContentRequest, WriteContentResponse

MESSAGE = 1024 * 1024
"""Bytes from which on a message is sent: smaller ones cost CPU, larger ones memory without a gain."""

WINDOW = 4
"""Messages that may be unanswered before `write` waits; it bounds what a slow containerd costs us in memory."""

_Answer = TypeVar("_Answer")

_METHOD = "/containerd.services.content.v1.Content/Write"
_PARTING = 2.0
_DATA = WriteContentRequest.DATA_FIELD_NUMBER << 3 | 2  # its tag: a field that begins with its length
_SEVEN_BITS, _MORE = 0x7F, 0x80
_ENDED = "containerd ended the write stream before its time"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long containerd may take, in seconds, before it counts as away."""

    message: float = 30.0
    """For one message."""

    whole: float = 180.0
    """For what grows with the blob: hashing a partial ingest when it is opened, syncing it when it is committed."""


class WriteStream:
    """One `Content.Write` call; it locks the ref of its first message until it is closed or has failed."""

    def __init__(self, channel: Channel, lease: str) -> None:
        self._channel = channel
        write: grpc.aio.StreamStreamMultiCallable[bytes, WriteContentResponse]
        write = channel.grpc.stream_stream(_METHOD, None, WriteContentResponse.FromString)
        self._call = write(metadata=channel.metadata(lease))
        self._answers = aiter(self._call)
        self._ending: grpc.aio.AioRpcError | None = None
        self._closed = False
        self._call.add_done_callback(lambda _: self._note_ending())

    def _note_ending(self) -> None:
        """Keep how the call ended: if a message of ours fails right after that, gRPC forgets what containerd said."""
        nothing = grpc.aio.Metadata()
        code, words = _at_once(self._call.code()), _at_once(self._call.details())
        self._ending = self._ending or grpc.aio.AioRpcError(code, nothing, nothing, words)

    async def close(self) -> None:
        """End the call; safe to repeat.

        Hanging up is not enough: containerd would let go of the ref some time later, and an abort in that moment
        fails. So its end of the stream is waited for, unless it hangs.
        """
        if self._closed:
            return
        try:
            with suppress(StoreUnavailableError):
                await self._part()
        finally:
            self._cancel()

    async def _part(self) -> None:
        async with self._step(_PARTING):
            await self._call.done_writing()
            await self._drain()

    async def _drain(self) -> None:
        """Read the answers that are left. Raises how the call ended, if it failed (`grpc.aio.AioRpcError`)."""
        try:
            async for _ in self._answers:
                continue
        except grpc.aio.AioRpcError as error:
            if error.code() is not StatusCode.INTERNAL:
                raise
            raise self._ending or error from error

    def _cancel(self) -> None:
        self._closed = True
        self._call.cancel()

    async def send(self, request: WriteContentRequest, within: float, data: Sequence[bytes | memoryview] = ()) -> None:
        """Hand over one message with this `data`, waiting at most `within` seconds for the transport to take it."""
        message = b"".join([request.SerializeToString(), *_field(data)])
        async with self._step(within):
            try:
                await self._call.write(message)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
                # A failed write does not know why the call is over; the end of the answers does, and raises it.
                await self._drain()
                raise StoreUnavailableError(_ENDED) from error

    async def answer(self, within: float, *answers: StatusCode) -> WriteContentResponse:
        """The answer to the oldest unanswered message; `answers` as in `store_errors`."""
        async with self._step(within, *answers):
            async for answer in self._answers:
                return answer
            raise StoreUnavailableError(_ENDED)

    async def committed(self, within: float) -> bool:
        """Wait for the answer to a COMMIT; False when the store already had the content.

        Either way the content is now held by the lease of the stream.
        """
        try:
            await self.answer(within, StatusCode.ALREADY_EXISTS)
        except grpc.aio.AioRpcError:
            return False
        return True

    @asynccontextmanager
    async def _step(self, within: float, *answers: StatusCode) -> AsyncIterator[None]:
        """One exchange, bounded in time; the first that fails ends the stream.

        Our own note of that is needed: on a call that was cancelled grpc raises CancelledError, which would pass for
        a cancellation of the task.
        """
        if self._closed:
            raise StoreUnavailableError("the write stream is closed")
        try:
            with store_errors(*answers):
                async with self._channel.patience(within):
                    yield
        except BaseException:  # a cancelled exchange too: what containerd answers next would be taken for another's
            self._cancel()
            raise


class BlobIngest:
    """Implements `mirror.core.ports.Ingest` on a stream whose first message has been answered with `state`."""

    def __init__(self, stream: WriteStream, state: WriteContentResponse, patience: Patience) -> None:
        self._stream = stream
        self._patience = patience
        self._sent = state.offset
        self._digest = state.digest
        self._unanswered = 0
        self._pieces: list[memoryview] = []
        self._collected = 0

    @property
    def offset(self) -> int:
        """See `Ingest.offset`."""
        return self._sent + self._collected

    async def write(self, data: bytes | bytearray) -> None:
        """See `Ingest.write`; what does not fill a message waits in memory for more, or for `flush`."""
        for start in range(0, len(data), MESSAGE):
            piece = memoryview(data)[start : start + MESSAGE]
            self._pieces.append(piece)
            self._collected += len(piece)
            if self._collected >= MESSAGE:
                await self._send()

    async def flush(self) -> None:
        """See `Ingest.flush`."""
        if self._pieces:
            await self._send()
        while self._unanswered:
            await self._answer()

    async def verify(self, expected: Digest) -> None:
        """Wait for every byte, and compare their digest. Raises DigestMismatchError, StoreUnavailableError."""
        await self.flush()
        if self._digest != expected:
            raise DigestMismatchError(f"the bytes are {self._digest}, not {expected}")

    async def commit(self, expected: Digest, labels: Mapping[str, str] | None = None) -> None:
        """See `Ingest.commit`; the content has these `labels`, if it was not there before."""
        try:
            await self.verify(expected)
            # Offset 0 would truncate; it stands here only for an ingest that is empty.
            request = WriteContentRequest(action=COMMIT, offset=self._sent, total=self._sent, labels=labels)
            await self._stream.send(request, self._patience.message)
            await self._stream.committed(self._patience.whole)
        finally:
            await self.close()

    async def close(self) -> None:
        """See `Ingest.close`."""
        await self._stream.close()

    async def _send(self) -> None:
        while self._unanswered >= WINDOW:
            await self._answer()
        request = WriteContentRequest(action=WRITE, offset=self._sent)
        await self._stream.send(request, self._patience.message, self._pieces)
        self._sent += self._collected
        self._pieces, self._collected = [], 0
        self._unanswered += 1

    async def _answer(self) -> None:
        answer = await self._stream.answer(self._patience.message)
        self._digest = answer.digest
        self._unanswered -= 1


def _field(data: Sequence[bytes | memoryview]) -> list[bytes | memoryview]:
    """The field `data` of a message, in parts, none of them copied; it may stand behind all others.

    Source: protobuf's encoding: the tag, the length in groups of seven bits with the lowest first, the bytes.
    """
    if not data:
        return []
    left = sum(map(len, data))
    head = bytearray([_DATA])
    while left > _SEVEN_BITS:
        head.append(left & _SEVEN_BITS | _MORE)
        left >>= 7
    head.append(left)
    return [bytes(head), *data]


def _at_once(answer: Coroutine[None, None, _Answer]) -> _Answer:
    """What a coroutine returns that has nothing to wait for, where nobody can wait."""
    try:
        answer.send(None)
    except StopIteration as done:
        value: _Answer = done.value
        return value
    raise RuntimeError("it waits")
