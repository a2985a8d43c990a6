"""`/v2/<name>/tags/list` and `/v2/_catalog`: what there is."""

from aiohttp import web

from mirror.core.discover import Discovery
from mirror.core.registries import Registries
from mirror.http import paging, target
from mirror.oci.errors import Problem, RegistryError

_PAGE = 100


class TagHandlers:
    """The handlers of lists of names."""

    def __init__(self, discovery: Discovery, registries: Registries, *, catalog: bool) -> None:
        self._discovery = discovery
        self._registries = registries
        self._catalog = catalog

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        return [web.get("/v2/{name:.+}/tags/list", self.tags), web.get("/v2/_catalog", self.catalog)]

    async def tags(self, request: web.Request) -> web.Response:
        """List the tags of a repository (spec: end-8a, end-8b)."""
        repository = target.repository(request, self._registries)
        limit = paging.limit(request)
        tags = [tag for tag in await self._discovery.tags(repository) if tag > paging.last(request)]
        page = tags[:limit]
        headers = paging.link(request, page, more=len(page) < len(tags))
        return web.json_response({"name": repository.path, "tags": page}, headers=headers)

    async def catalog(self, request: web.Request) -> web.Response:
        """List the repositories, where the settings allow it (Docker's `GET /v2/_catalog`)."""
        if not self._catalog:
            raise RegistryError(Problem.DENIED, "the catalog is switched off")
        registry = self._registries.choose(request.query.get("ns"), request.host)
        wanted = paging.limit(request)
        limit = min(_PAGE if wanted is None else wanted, _PAGE)
        found = await self._discovery.repositories(registry, paging.last(request), limit + 1)
        page = found[:limit]
        headers = paging.link(request, page, more=len(page) < len(found))
        return web.json_response({"repositories": page}, headers=headers)
