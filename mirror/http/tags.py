"""`/v2/<name>/tags/list` and `/v2/_catalog`: what there is."""

from functools import partial

from aiohttp import web

from mirror.core.access import Action
from mirror.core.discover import Discovery
from mirror.http import paging
from mirror.http.guard import Guard
from mirror.oci.errors import Problem, RegistryError

_PAGE = 100


class TagHandlers:
    """The handlers of lists of names."""

    def __init__(self, discovery: Discovery, guard: Guard, *, catalog: bool) -> None:
        self._discovery = discovery
        self._guard = guard
        self._catalog = catalog

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        return [web.get("/v2/{name:.+}/tags/list", self.tags), web.get("/v2/_catalog", self.catalog)]

    async def tags(self, request: web.Request) -> web.Response:
        """List the tags of a repository (spec: end-8a, end-8b)."""
        repository = self._guard.repository(request, Action.PULL)
        limit = paging.limit(request)
        tags = [tag for tag in await self._discovery.tags(repository) if tag > paging.last(request)]
        page = tags[:limit]
        headers = paging.link(request, page, more=len(page) < len(tags))
        return web.json_response({"name": repository.path, "tags": page}, headers=headers)

    async def catalog(self, request: web.Request) -> web.Response:
        """List the repositories, where the settings allow it (Docker's `GET /v2/_catalog`)."""
        if not self._catalog:
            raise RegistryError(Problem.DENIED, "the catalog is switched off")
        self._guard.identified(request)
        registry = self._guard.registry(request)
        wanted = paging.limit(request)
        limit = min(_PAGE if wanted is None else wanted, _PAGE)
        seen = partial(self._guard.may_pull, request)
        found = await self._discovery.repositories(registry, paging.last(request), limit + 1, seen)
        page = found[:limit]
        headers = paging.link(request, page, more=len(page) < len(found))
        return web.json_response({"repositories": page}, headers=headers)
