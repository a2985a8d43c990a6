"""Server-sent events: a long answer that tells things as they happen.

Source: WHATWG HTML, "Server-sent events".
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager

from aiohttp import hdrs, web

from mirror.core.follow import Changes
from mirror.http.rendering import render
from mirror.oci.errors import Problem, RegistryError

_MEDIA_TYPE = "text/event-stream"
_MOST = 100
_RETRY_AFTER = "10"
# How long a reader may not take what is sent before it is given up; enough for one that was only busy.
_TAKES_WITHIN = 5.0


class EventStream:
    """One answer under way. A reader that is gone, or takes nothing for long, is a ConnectionError."""

    def __init__(self, response: web.StreamResponse) -> None:
        self.response = response

    async def tell(self, event: str, data: Mapping[str, object]) -> None:
        """Send one event."""
        await self._write(f"event: {event}\ndata: {json.dumps(data)}\n\n")

    async def keep_alive(self) -> None:
        """Send a comment, which readers ignore and what lies between them and us takes as a sign of life."""
        await self._write(": still here\n\n")

    async def _write(self, text: str) -> None:
        try:
            async with asyncio.timeout(_TAKES_WITHIN):
                await self.response.write(text.encode())
        except TimeoutError as error:
            raise ConnectionAbortedError("the reader takes nothing") from error


class EventStreams:
    """The streams of one application; more than a hundred at once are refused."""

    def __init__(self) -> None:
        self._open = 0

    @asynccontextmanager
    async def open(self, request: web.Request) -> AsyncIterator[EventStream]:
        """Begin to answer with events. Raises RegistryError: TOO_MANY_STREAMS."""
        if self._open >= _MOST:
            raise RegistryError(Problem.TOO_MANY_STREAMS, headers={"Retry-After": _RETRY_AFTER})
        response = web.StreamResponse(headers={"Content-Type": _MEDIA_TYPE, "Cache-Control": "no-store"})
        self._open += 1
        try:
            await response.prepare(request)
            yield EventStream(response)
            await response.write_eof()
        except Exception:
            # The status is long gone; only a broken connection can still say that this is not the end.
            if request.transport is not None:
                request.transport.abort()
            raise
        finally:
            self._open -= 1

    async def answer(self, request: web.Request, changes: Changes) -> web.StreamResponse:
        """Tell each change of a status, until there are no more."""
        async with aclosing(changes), self.open(request) as stream:
            async for status in changes:
                if status:
                    await stream.tell("status", render(status))
                else:
                    await stream.keep_alive()
        return stream.response


def wants_events(request: web.Request) -> bool:
    """Whether the client asks for events instead of one answer."""
    accepted = request.headers.get(hdrs.ACCEPT, "").split(",")
    return any(media.partition(";")[0].strip().lower() == _MEDIA_TYPE for media in accepted)
