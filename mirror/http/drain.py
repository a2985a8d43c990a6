"""`/drain` on the admin socket: one long request, whose end decides whether pushes are taken again."""

from dataclasses import asdict
from http import HTTPStatus

from aiohttp import web

from mirror.core.drain import Backlog, Drain
from mirror.http.events import EventStreams
from mirror.http.query import seconds
from mirror.oci.errors import Problem, RegistryError


class DrainHandlers:
    """The handlers of draining."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain
        self._streams = EventStreams()

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        return [web.post("/drain", self.run), web.delete("/drain", self.undo)]

    async def run(self, request: web.Request) -> web.StreamResponse:
        """Drain for at most `timeout` seconds: a `backlog` event for each change, and an `ending` event at the end."""
        limit = seconds(request, "timeout")
        if limit is None:
            raise RegistryError(Problem.BAD_REQUEST, "timeout=<seconds> is needed")
        async with self._streams.open(request) as stream:

            async def tell(backlog: Backlog) -> None:
                await stream.tell("backlog", asdict(backlog))

            ending = await self._drain.run(limit, tell)
            await stream.tell("ending", {"ending": ending})
        return stream.response

    async def undo(self, _: web.Request) -> web.Response:
        """Take pushes again."""
        self._drain.undo()
        return web.Response(status=HTTPStatus.NO_CONTENT)
