"""Reading what a client sends, as long as it does send."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from mirror.oci.errors import Problem, RegistryError


class BodyReader:
    """Streams request bodies; `idle` is how many seconds a client may send nothing before it is given up.

    Without that bound a stalled client would keep its upload, and containerd's lock on it, for ever.
    """

    def __init__(self, idle: float) -> None:
        self._idle = idle

    async def stream(self, request: web.Request) -> AsyncIterator[bytes]:
        """The body, in pieces as they arrive. Raises RegistryError: CLIENT_STALLED."""
        while data := await self._next(request):
            yield data

    async def whole(self, request: web.Request, limit: int) -> bytes:
        """A body that must be small, read no further than `limit` bytes.

        Raises:
            RegistryError: MANIFEST_TOO_LARGE, CLIENT_STALLED.
        """
        body = bytearray()
        async for data in self.stream(request):
            body += data
            if len(body) > limit:
                raise RegistryError(Problem.MANIFEST_TOO_LARGE)
        return bytes(body)

    async def _next(self, request: web.Request) -> bytes:
        """The next piece, empty at the end."""
        try:
            async with asyncio.timeout(self._idle):
                return await request.content.readany()
        except TimeoutError as error:
            raise RegistryError(Problem.CLIENT_STALLED, f"nothing for {self._idle:g} seconds") from error
