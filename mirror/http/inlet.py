"""Large bodies, straight from the connection.

aiohttp gives a body on in the pieces in which it came, each copied by its parser, and for a large layer that is most of
what the event loop has to do. So once the head of such a request is read, the connection is taken from aiohttp: the
kernel fills buffers, and those are what is written and hashed. aiohttp's parser, which still waits for that body, is of
no use for another request then: the connection ends with the answer, and the client makes a new one.
"""

import asyncio
from collections import deque
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Handler

LARGE = 4 * 1024 * 1024
"""Bytes of a body from which on it is worth a connection."""

_PIECE = 1024 * 1024
_AHEAD = 2


class Inlet(asyncio.BufferedProtocol):
    """Receives the `length` bytes that are still to come over the connection of a request, until it is released."""

    def __init__(self, request: web.Request, length: int) -> None:
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError("the client is gone")
        self._transport = request.transport
        self._content = request.content
        self._owner = cast("asyncio.Protocol", request.transport.get_protocol())
        self._length = length
        self._buffer = bytearray()
        self._filled = 0
        self._pieces = deque[bytearray]()
        self._news = asyncio.Event()
        self._is_lost = False
        self.received = 0
        """Bytes, those of a piece that is not whole yet included."""
        self._transport.set_protocol(self)

    @property
    def _is_whole(self) -> bool:
        return self.received == self._length

    async def next(self) -> bytearray:
        """The next piece, which is the caller's to keep; empty at the end. Raises ConnectionResetError."""
        while not self._pieces and not self._is_whole:
            if self._is_lost:
                raise ConnectionResetError("the client is gone")
            self._news.clear()
            await self._news.wait()
        if not self._pieces:
            return bytearray()
        piece = self._pieces.popleft()
        if not self._is_whole:
            self._transport.resume_reading()
        return piece

    def rest(self) -> bytes:
        """What has come of a piece that is not whole, when its rest will not be waited for."""
        return bytes(self._buffer[: self._filled])

    def release(self) -> None:
        """Give the connection back to aiohttp, to answer; what is left of a body that was refused is its to skip."""
        self._transport.set_protocol(self._owner)
        if self._is_whole:
            self._content.feed_eof()
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def get_buffer(self, _: int) -> memoryview:
        """See `asyncio.BufferedProtocol`: what the next bytes are to be put into, never more than the body has."""
        if not self._buffer:
            self._buffer = bytearray(min(_PIECE, self._length - self.received))
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, size: int) -> None:
        """See `asyncio.BufferedProtocol`: so many have come."""
        self.received += size
        self._filled += size
        if self._filled == len(self._buffer):
            self._pieces.append(self._buffer)
            self._buffer, self._filled = bytearray(), 0
            self._news.set()
            if self._is_whole or len(self._pieces) == _AHEAD:
                self._transport.pause_reading()

    def eof_received(self) -> None:
        """See `asyncio.Protocol`: a body that ends early is one that breaks off."""
        self._lose()
        self._owner.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._lose()
        self._owner.connection_lost(error)

    def _lose(self) -> None:
        self._is_lost = True
        self._news.set()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`: it is aiohttp that answers."""
        self._owner.pause_writing()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._owner.resume_writing()


_INLET = web.RequestKey("inlet", Inlet)


def take(request: web.Request, length: int) -> Inlet:
    """Take the connection of a request, for the rest of its body; `giving_back` gives it back."""
    request[_INLET] = inlet = Inlet(request, length)
    return inlet


@web.middleware
async def giving_back(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let aiohttp have the connections again that were taken from it, for their answers and no more."""
    try:
        response = await handler(request)
    finally:
        if inlet := request.get(_INLET):
            inlet.release()
    if inlet:
        response.force_close()
    return response
