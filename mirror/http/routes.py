"""The application that builders talk to: every route and what surrounds it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from mirror.core.discover import Discovery
from mirror.core.fairness import Meter
from mirror.core.follow import Follow
from mirror.core.ports import Clock, Tracer
from mirror.core.publish import ManifestPush
from mirror.core.push import BlobPush
from mirror.core.registries import Registries
from mirror.core.remove import Removal
from mirror.core.through.through import Through
from mirror.core.watch import Watch
from mirror.http.blobs import BlobHandlers
from mirror.http.body import BodyReader
from mirror.http.connections import timed
from mirror.http.guard import Guard
from mirror.http.identify import Door, identify
from mirror.http.inlet import giving_back
from mirror.http.manifests import ManifestHandlers
from mirror.http.middleware import Answered, errors, name_request, request_log
from mirror.http.referrers import ReferrerHandlers
from mirror.http.status import StatusHandlers
from mirror.http.tags import TagHandlers
from mirror.http.tokens import TokenHandlers
from mirror.http.tracing import tracing
from mirror.http.traffic import Traffic
from mirror.http.uploads import UploadHandlers


@dataclass(frozen=True, slots=True)
class UseCases:
    """What the routes lead to."""

    blob_push: BlobPush
    manifest_push: ManifestPush
    through: Through
    discovery: Discovery
    removal: Removal
    watch: Watch
    follow: Follow


@dataclass(frozen=True, slots=True)
class Limits:
    """Of requests: `idle` seconds in which nothing is sent, bytes of a `manifest`, characters of a path (`name`)."""

    idle: float
    manifest: int
    name: int


def application(  # noqa: PLR0913 - what it is made of, each by name
    use: UseCases,
    door: Callable[[], Door],
    *,
    registries: Registries,
    catalog: bool,
    limits: Limits,
    meter: Meter,
    traffic: Traffic,
    clock: Clock,
    answered: Answered,
    tracer: Tracer,
) -> web.Application:
    """Build the `/v2/` application of one listener.

    What `door` gives counts for requests that come then. With `catalog` it lists the repositories, to each caller his;
    all listeners share the `meter`.
    """
    bodies = BodyReader(limits.idle)
    guard = Guard(registries, limits.name)
    inside = identify(door, meter, clock)
    log = request_log(clock, answered)
    app = web.Application(
        middlewares=[timed, web.middleware(traffic), tracing(tracer), log, giving_back, errors, inside]
    )
    app.on_response_prepare.append(name_request)
    app.on_response_prepare.append(_namespace(registries))
    app.router.add_routes(VersionHandlers(guard).routes())
    app.router.add_routes(TagHandlers(use.discovery, guard, catalog=catalog).routes())
    app.router.add_routes(UploadHandlers(use.blob_push, guard, bodies).routes())
    app.router.add_routes(BlobHandlers(use.through, use.removal, guard).routes())
    manifests = ManifestHandlers(
        use.manifest_push, use.through, use.removal, use.watch, guard, bodies, largest=limits.manifest
    )
    app.router.add_routes(manifests.routes())
    app.router.add_routes(StatusHandlers(use.watch, use.follow, guard).routes())
    app.router.add_routes(ReferrerHandlers(use.discovery, guard).routes())
    app.router.add_routes(TokenHandlers(registries, bodies).routes())
    return app


class VersionHandlers:
    """The handler of `/v2/`, where clients begin: what it asks for they bring along from then on."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        return [web.get("/v2/", self.get), web.get("/v2", self.get)]

    async def get(self, request: web.Request) -> web.Response:
        """Say that this is a registry (spec: end-1)."""
        self._guard.identified(request)
        return web.json_response({})


def _namespace(registries: Registries) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Say in every answer what this is, and which registry `ns=` was taken for (spec: "Registry Proxying")."""

    async def announce(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"
        namespace = request.query.get("ns")
        if namespace in registries.names:
            response.headers["OCI-Namespace"] = namespace

    return announce
