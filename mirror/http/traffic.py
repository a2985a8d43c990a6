"""Which requests are being answered right now, so that a shutdown can wait for them."""

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler


class Traffic:
    """Counts requests in flight; `idle` is set while there are none.

    aiohttp's own graceful shutdown waits for handlers too, but drops whatever of a request's body is still to come.
    """

    def __init__(self) -> None:
        self.idle = asyncio.Event()
        self.idle.set()
        self._in_flight = 0

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Be a middleware around one request."""
        self._in_flight += 1
        self.idle.clear()
        try:
            return await handler(request)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self.idle.set()
