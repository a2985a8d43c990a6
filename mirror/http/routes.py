"""The application that builders talk to: every route and what surrounds it."""

from aiohttp import web

from mirror.core.ports import Clock
from mirror.core.publish import ManifestPush
from mirror.core.pull import Pull
from mirror.core.push import BlobPush
from mirror.core.registries import Registries
from mirror.http.blobs import BlobHandlers
from mirror.http.manifests import ManifestHandlers
from mirror.http.middleware import errors, request_log
from mirror.http.traffic import Traffic
from mirror.http.uploads import UploadHandlers


def application(
    *,
    traffic: Traffic,
    blob_push: BlobPush,
    manifest_push: ManifestPush,
    pull: Pull,
    registries: Registries,
    clock: Clock,
) -> web.Application:
    """Build the `/v2/` application."""
    app = web.Application(middlewares=[web.middleware(traffic), request_log(clock), errors])
    app.router.add_get("/v2/", _version)
    app.router.add_get("/v2", _version)
    app.router.add_routes(UploadHandlers(blob_push, registries).routes())
    app.router.add_routes(BlobHandlers(pull, registries).routes())
    app.router.add_routes(ManifestHandlers(manifest_push, pull, registries).routes())
    return app


async def _version(_: web.Request) -> web.Response:
    """Say that this is a registry (spec: end-1)."""
    return web.json_response({}, headers={"Docker-Distribution-Api-Version": "registry/2.0"})
