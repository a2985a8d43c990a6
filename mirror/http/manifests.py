"""`/v2/<name>/manifests/<reference>`: pushing and reading manifests."""

from http import HTTPStatus

from aiohttp import web

from mirror.core.publish import ManifestPush
from mirror.core.pull import Pull
from mirror.core.registries import Registries
from mirror.http import target
from mirror.http.content import respond
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.manifest import MAX_MANIFEST


class ManifestHandlers:
    """The handlers of manifests."""

    def __init__(self, push: ManifestPush, pull: Pull, registries: Registries) -> None:
        self._push = push
        self._pull = pull
        self._registries = registries

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        path = "/v2/{name:.+}/manifests/{reference:[^/]+}"
        return [web.get(path, self.get), web.put(path, self.put)]

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Send a manifest as it was pushed, whatever `Accept` says (spec: end-3)."""
        repository = target.repository(request, self._registries)
        stored = await self._pull.manifest(repository, target.reference(request))
        return await respond(request, self._pull, stored)

    async def put(self, request: web.Request) -> web.Response:
        """Acknowledge an image: after this 201 it reaches the upstream (spec: end-7)."""
        repository = target.repository(request, self._registries)
        reference = target.reference(request)
        content_type = request.headers.get("Content-Type", "")
        manifest = await self._push.put(repository, reference, content_type, await _body(request))
        headers = {
            "Location": target.location(request, f"/v2/{repository.path}/manifests/{manifest.digest}"),
            "Docker-Content-Digest": manifest.digest,
        }
        return web.Response(status=HTTPStatus.CREATED, headers=headers)


async def _body(request: web.Request) -> bytes:
    """The whole body, which must be small; read no further than it may be long."""
    body = bytearray()
    async for data in request.content.iter_any():
        body += data
        if len(body) > MAX_MANIFEST:
            raise RegistryError(Problem.MANIFEST_TOO_LARGE)
    return bytes(body)
