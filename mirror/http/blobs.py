"""`/v2/<name>/blobs/<digest>`: reading and deleting blobs."""

from http import HTTPStatus

from aiohttp import web

from mirror.core.access import Action
from mirror.core.pull import Pull
from mirror.core.remove import Removal
from mirror.http import target
from mirror.http.content import only_asks, respond
from mirror.http.guard import Guard


class BlobHandlers:
    """The handlers of blobs."""

    def __init__(self, pull: Pull, removal: Removal, guard: Guard) -> None:
        self._pull = pull
        self._removal = removal
        self._guard = guard

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        path = "/v2/{name:.+}/blobs/{digest:[^/]+}"
        return [web.get(path, self.get), web.delete(path, self.delete)]

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Send a blob, or for a HEAD its size (spec: end-2)."""
        repository = self._guard.repository(request, Action.PULL)
        stored = await self._pull.blob(repository, target.digest(request), hold=only_asks(request))
        return await respond(request, self._pull, stored)

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a blob here (spec: end-10)."""
        repository = self._guard.repository(request, Action.DELETE)
        await self._removal.blob(repository, target.digest(request))
        return web.Response(status=HTTPStatus.ACCEPTED)
