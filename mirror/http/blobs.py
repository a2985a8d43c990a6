"""`/v2/<name>/blobs/<digest>`: reading blobs."""

from aiohttp import web

from mirror.core.pull import Pull
from mirror.core.registries import Registries
from mirror.http import target
from mirror.http.content import respond


class BlobHandlers:
    """The handlers of blobs."""

    def __init__(self, pull: Pull, registries: Registries) -> None:
        self._pull = pull
        self._registries = registries

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        return [web.get("/v2/{name:.+}/blobs/{digest:[^/]+}", self.get)]

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Send a blob, or for a HEAD its size (spec: end-2)."""
        repository = target.repository(request, self._registries)
        stored = await self._pull.blob(repository, target.digest(request))
        return await respond(request, self._pull, stored)
