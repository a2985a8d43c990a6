"""The application that builders talk to: every route and what surrounds it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from mirror.core.discover import Discovery
from mirror.core.follow import Follow
from mirror.core.ports import Clock
from mirror.core.publish import ManifestPush
from mirror.core.pull import Pull
from mirror.core.push import BlobPush
from mirror.core.registries import Registries
from mirror.core.remove import Removal
from mirror.core.watch import Watch
from mirror.http.blobs import BlobHandlers
from mirror.http.body import BodyReader
from mirror.http.inlet import giving_back
from mirror.http.manifests import ManifestHandlers
from mirror.http.middleware import errors, request_log
from mirror.http.referrers import ReferrerHandlers
from mirror.http.status import StatusHandlers
from mirror.http.tags import TagHandlers
from mirror.http.traffic import Traffic
from mirror.http.uploads import UploadHandlers


@dataclass(frozen=True, slots=True)
class UseCases:
    """What the routes lead to."""

    blob_push: BlobPush
    manifest_push: ManifestPush
    pull: Pull
    discovery: Discovery
    removal: Removal
    watch: Watch
    follow: Follow


def application(
    use: UseCases, *, registries: Registries, catalog: bool, idle: float, traffic: Traffic, clock: Clock
) -> web.Application:
    """Build the `/v2/` application.

    With `catalog` it lists the repositories to whoever asks; `idle` is how many seconds a client may send nothing.
    """
    bodies = BodyReader(idle)
    app = web.Application(middlewares=[web.middleware(traffic), request_log(clock), giving_back, errors])
    app.on_response_prepare.append(_namespace(registries))
    app.router.add_get("/v2/", _version)
    app.router.add_get("/v2", _version)
    app.router.add_routes(TagHandlers(use.discovery, registries, catalog=catalog).routes())
    app.router.add_routes(UploadHandlers(use.blob_push, registries, bodies).routes())
    app.router.add_routes(BlobHandlers(use.pull, use.removal, registries).routes())
    manifests = ManifestHandlers(use.manifest_push, use.pull, use.removal, use.watch, registries, bodies)
    app.router.add_routes(manifests.routes())
    app.router.add_routes(StatusHandlers(use.watch, use.follow, registries).routes())
    app.router.add_routes(ReferrerHandlers(use.discovery, registries).routes())
    return app


async def _version(_: web.Request) -> web.Response:
    """Say that this is a registry (spec: end-1)."""
    return web.json_response({}, headers={"Docker-Distribution-Api-Version": "registry/2.0"})


def _namespace(registries: Registries) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Say in every answer which registry `ns=` was taken for (spec: "Registry Proxying")."""

    async def announce(request: web.Request, response: web.StreamResponse) -> None:
        namespace = request.query.get("ns")
        if namespace in registries.names:
            response.headers["OCI-Namespace"] = namespace

    return announce
