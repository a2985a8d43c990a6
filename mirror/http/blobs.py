"""`/v2/<name>/blobs/<digest>`: reading and deleting blobs."""

from http import HTTPStatus

from aiohttp import web

from mirror.core.access import Action
from mirror.core.remove import Removal
from mirror.core.through.through import Through
from mirror.http import target
from mirror.http.content import only_asks, respond
from mirror.http.guard import Guard


class BlobHandlers:
    """The handlers of blobs."""

    def __init__(self, through: Through, removal: Removal, guard: Guard) -> None:
        self._through = through
        self._removal = removal
        self._guard = guard

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        path = "/v2/{name:.+}/blobs/{digest:[^/]+}"
        return [web.get(path, self.get), web.delete(path, self.delete)]

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Send a blob, or for a HEAD its size (spec: end-2)."""
        repository = self._guard.repository(request, Action.PULL)
        async with self._through.blob(repository, target.digest(request), hold=only_asks(request)) as stored:
            return await respond(request, self._through.here, stored)

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a blob here (spec: end-10)."""
        repository = self._guard.repository(request, Action.DELETE)
        await self._removal.blob(repository, target.digest(request))
        return web.Response(status=HTTPStatus.ACCEPTED)
