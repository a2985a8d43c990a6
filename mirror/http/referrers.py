"""`/v2/<name>/referrers/<digest>`: what was pushed about a manifest."""

import msgspec
from aiohttp import web

from mirror.core.access import Action
from mirror.core.discover import Discovery
from mirror.http import target
from mirror.http.guard import Guard
from mirror.oci.manifest import OCI_INDEX


class ReferrerHandlers:
    """The handler of referrers."""

    def __init__(self, discovery: Discovery, guard: Guard) -> None:
        self._discovery = discovery
        self._guard = guard

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        return [web.get("/v2/{name:.+}/referrers/{digest:[^/]+}", self.get)]

    async def get(self, request: web.Request) -> web.Response:
        """List the referrers of a manifest as an index, of one artifact type if asked (spec: end-12a, end-12b)."""
        repository = self._guard.repository(request, Action.PULL)
        found = await self._discovery.referrers(repository, target.digest(request))
        wanted = request.query.get("artifactType")
        if wanted is not None:
            found = [descriptor for descriptor in found if descriptor.artifact_type == wanted]
        body = msgspec.json.encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found})
        headers = {} if wanted is None else {"OCI-Filters-Applied": "artifactType"}
        return web.Response(body=body, content_type=OCI_INDEX, headers=headers)
