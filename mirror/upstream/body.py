"""The body of an upload: streamed, watched over, and with a memory of why it broke."""

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress

from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter
from aiohttp.payload import AsyncIterablePayload

# What a close does with data that is not sent yet: struct linger of socket(7).
_RESET = struct.pack("ii", 1, 0)
_FLUSH = struct.pack("ii", 0, 0)


class Watchdog:
    """Bounds how long the upstream takes for a piece, and for its answer after the last one; and nothing else."""

    def __init__(self, timeout: asyncio.Timeout, piece: float, answer: float) -> None:
        self._timeout = timeout
        self._piece = piece
        self._answer = answer

    def sending(self) -> None:
        """The upstream was given a piece."""
        self._within(self._piece)

    def reading(self) -> None:
        """It is our turn: what is to be sent next is not here yet, or may not go yet."""
        self._timeout.reschedule(None)

    def answering(self) -> None:
        """The upstream has it all."""
        self._within(self._answer)

    def _within(self, seconds: float) -> None:
        self._timeout.reschedule(asyncio.get_running_loop().time() + seconds)


class Body(AsyncIterablePayload):
    """A request body whose own failure is kept in `error`: the HTTP client would report it as a lost connection.

    Until it is answered, the end of its connection is a reset. Else the kernel would go on sending what was written, to
    an upstream that takes nothing even after we are dead, and the upload would be busy there for as long.
    """

    def __init__(self, data: AsyncIterator[bytes], watchdog: Watchdog) -> None:
        self._data = data
        self._pieces = self._watched(data)
        super().__init__(self._pieces)
        self.error: Exception | None = None
        self._watchdog = watchdog
        self._connection: asyncio.Transport | None = None

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Called by aiohttp to send it."""
        if isinstance(writer, StreamWriter):
            self._connection = writer.transport
        self._on_close(_RESET)
        await super().write_with_length(writer, content_length)

    def answered(self) -> None:
        """The upstream has it all."""
        self._on_close(_FLUSH)

    async def discard(self) -> None:
        """Let go of the data; aiohttp would keep it for as long as it remembers the request."""
        for source in (self._pieces, self._data):
            if isinstance(source, AsyncGenerator):
                with suppress(RuntimeError):  # it is being read: the reader is being cancelled, and ends it
                    await source.aclose()

    def abort(self) -> None:
        """End the connection at once, whatever of it is written and not sent; only for one that is not released."""
        if self._connection is not None:
            self._connection.abort()

    def _on_close(self, linger: bytes) -> None:
        under = self._connection.get_extra_info("socket") if self._connection else None
        if under is not None:
            under.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    async def _watched(self, data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            self._watchdog.reading()
            async for piece in data:
                self._watchdog.sending()
                yield piece
                self._watchdog.reading()
            self._watchdog.answering()
        except Exception as error:  # whatever it is, it is raised on, and by `Transport.send` once more
            self.error = error
            raise
