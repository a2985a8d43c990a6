"""Reading what a client sends, as long as it does send."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from aiohttp import web

from mirror.http.inlet import LARGE, Inlet, take
from mirror.oci.errors import Problem, RegistryError


class BodyReader:
    """Streams request bodies; `idle` is how many seconds a client may send nothing before it is given up.

    Without that bound a stalled client would keep its upload, and containerd's lock on it, for ever.
    """

    def __init__(self, idle: float) -> None:
        self._idle = idle

    async def stream(self, request: web.Request) -> AsyncIterator[bytes | bytearray]:
        """The body, in pieces as they arrive. Raises RegistryError: CLIENT_STALLED; ConnectionError."""
        if (request.content_length or 0) >= LARGE:
            async for piece in self._large(request, request.content_length or 0):
                yield piece
            return
        while data := await self._next(request):
            yield data

    async def _large(self, request: web.Request, length: int) -> AsyncIterator[bytes | bytearray]:
        """What aiohttp has of the body, and the rest from the connection."""
        request.protocol.resume_reading()  # or it keeps some of it to itself
        begin = b"".join(iter(request.content.read_nowait, b""))
        inlet = take(request, length - len(begin)) if len(begin) < length else None
        yield begin
        try:
            while inlet and (piece := await self._piece(inlet)):
                yield piece
        except RegistryError:
            if inlet:
                yield inlet.rest()
            raise

    async def _piece(self, inlet: Inlet) -> bytearray:
        """The next piece, empty at the end; a client that is only slow is not stalled."""
        received = -1
        while received < inlet.received:
            received = inlet.received
            with suppress(TimeoutError):
                async with asyncio.timeout(self._idle):
                    return await inlet.next()
        raise self._stalled()

    async def whole(self, request: web.Request, limit: int, too_large: Problem = Problem.MANIFEST_TOO_LARGE) -> bytes:
        """A body that must be small, read no further than `limit` bytes.

        Raises:
            RegistryError: `too_large`, CLIENT_STALLED.
        """
        body = bytearray()
        async for data in self.stream(request):
            body += data
            if len(body) > limit:
                raise RegistryError(too_large, f"the limit is {limit} bytes")
        return bytes(body)

    async def _next(self, request: web.Request) -> bytes:
        """The next piece, empty at the end."""
        try:
            async with asyncio.timeout(self._idle):
                return await request.content.readany()
        except TimeoutError as error:
            raise self._stalled() from error

    def _stalled(self) -> RegistryError:
        return RegistryError(Problem.CLIENT_STALLED, f"nothing for {self._idle:g} seconds")
