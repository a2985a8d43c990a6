"""`/v2/<name>/referrers/<digest>`: what was pushed about a manifest."""

import msgspec
from aiohttp import web

from mirror.core.discover import Discovery
from mirror.core.registries import Registries
from mirror.http import target
from mirror.oci.manifest import OCI_INDEX


class ReferrerHandlers:
    """The handler of referrers."""

    def __init__(self, discovery: Discovery, registries: Registries) -> None:
        self._discovery = discovery
        self._registries = registries

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        return [web.get("/v2/{name:.+}/referrers/{digest:[^/]+}", self.get)]

    async def get(self, request: web.Request) -> web.Response:
        """List the referrers of a manifest as an index, of one artifact type if asked (spec: end-12a, end-12b)."""
        repository = target.repository(request, self._registries)
        found = await self._discovery.referrers(repository, target.digest(request))
        wanted = request.query.get("artifactType")
        if wanted is not None:
            found = [descriptor for descriptor in found if descriptor.artifact_type == wanted]
        body = msgspec.json.encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found})
        headers = {} if wanted is None else {"OCI-Filters-Applied": "artifactType"}
        return web.Response(body=body, content_type=OCI_INDEX, headers=headers)
