"""The operator's side, on a unix socket: where things stand, and waiting for an image."""

from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web

from mirror.core.drain import Drain
from mirror.core.evict import Evictor
from mirror.core.follow import Follow
from mirror.core.jobs import FINISHED, Kind, State
from mirror.core.listing import Listing
from mirror.core.operate import Operator
from mirror.core.ports import Clock
from mirror.core.readiness import Readiness
from mirror.core.reconcile.rounds import Reconciler
from mirror.core.registries import Registries
from mirror.core.replication.pace import Limits
from mirror.core.variants.convert import Converter
from mirror.core.watch import Watch
from mirror.http import alive, query
from mirror.http.browsers import no_strangers
from mirror.http.check import CheckHandlers
from mirror.http.convert import ConvertHandlers
from mirror.http.drain import DrainHandlers
from mirror.http.events import EventStreams
from mirror.http.evict import EvictHandlers
from mirror.http.images import ImageHandlers
from mirror.http.jobs import JobHandlers
from mirror.http.limits import LimitHandlers
from mirror.http.metrics import Exposition, MetricHandlers
from mirror.http.middleware import Answered, errors, name_request, request_log
from mirror.http.overview import Overview
from mirror.http.page import PageHandlers
from mirror.http.rendering import render, render_task
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.names import Reference, Repository, split_image

_KINDS = {"unpacked": Kind.UNPACK, "replicated": Kind.REPLICATE}


@dataclass(frozen=True, slots=True)
class AdminUseCases:
    """What the routes of the admin socket lead to."""

    watch: Watch
    follow: Follow
    operator: Operator
    drain: Drain
    reconciler: Reconciler
    limits: Limits
    readiness: Readiness
    evictor: Evictor
    expose: Exposition
    overview: Overview
    listing: Listing
    converter: Converter


def admin_application(
    use: AdminUseCases, *, registries: Registries, clock: Clock, answered: Answered
) -> web.Application:
    """Build the admin application."""
    app = web.Application(middlewares=[request_log(clock, answered), errors, no_strangers])
    app.on_response_prepare.append(name_request)
    app.router.add_routes(AdminHandlers(use, registries).routes())
    app.router.add_routes(JobHandlers(use.operator).routes())
    app.router.add_routes(DrainHandlers(use.drain).routes())
    app.router.add_routes(CheckHandlers(use.reconciler).routes())
    app.router.add_routes(ConvertHandlers(use.converter, registries).routes())
    app.router.add_routes(LimitHandlers(use.limits).routes())
    app.router.add_routes(alive.ROUTES)
    app.router.add_routes(EvictHandlers(use.evictor).routes())
    app.router.add_routes(MetricHandlers(use.expose).routes())
    app.router.add_routes(PageHandlers().routes())
    app.router.add_routes(ImageHandlers(use.listing).routes())
    return app


class AdminHandlers:
    """The handlers of questions."""

    def __init__(self, use: AdminUseCases, registries: Registries) -> None:
        self._use = use
        self._watch = use.watch
        self._follow = use.follow
        self._registries = registries
        self._streams = EventStreams()

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        return [
            web.get("/status", self.status),
            web.get("/ready", self.ready),
            web.get("/events", self.events, allow_head=False),
            web.get("/wait", self.wait),
        ]

    async def status(self, request: web.Request) -> web.Response:
        """Say where `image` stands, or without it everything."""
        if "image" not in request.query:
            return web.json_response(await self._use.overview.render())
        repository, reference = self._image(request)
        status = await self._watch.status(repository, reference)
        if status is None:
            raise RegistryError(Problem.MANIFEST_UNKNOWN, repository.image(reference))
        return web.json_response(render(status))

    async def ready(self, _: web.Request) -> web.Response:
        """Say whether pushes are taken: 200, or 503 with the reasons why not."""
        reasons = self._use.readiness.reasons()
        status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        return web.json_response({"ready": not reasons, "reasons": reasons}, status=status)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Tell each change of `image` until it is final; without it those of all jobs."""
        if "image" not in request.query:
            return await self._streams.answer(request, await self._follow.everything())
        repository, reference = self._image(request)
        if await self._watch.status(repository, reference) is None:
            raise RegistryError(Problem.MANIFEST_UNKNOWN, repository.image(reference))
        return await self._streams.answer(request, self._follow.image(repository, reference))

    async def wait(self, request: web.Request) -> web.Response:
        """Answer when `image` is unpacked or replicated (`for`), or when `timeout` seconds are over."""
        repository, reference = self._image(request)
        kind, seconds = _KINDS.get(request.query.get("for", "")), query.seconds(request, "timeout")
        if kind is None or seconds is None:
            raise RegistryError(Problem.BAD_REQUEST, "for=unpacked|replicated and timeout=<seconds> are needed")
        task = await self._watch.wait(repository, reference, kind, seconds)
        if task is None:
            raise RegistryError(Problem.MANIFEST_UNKNOWN, repository.image(reference))
        if task.state not in FINISHED and self._watch.is_stopping:
            raise RegistryError(Problem.STOPPING)
        return web.json_response(render_task(task) | {"reached": task.state in {State.DONE, State.SKIPPED}})

    def _image(self, request: web.Request) -> tuple[Repository, Reference]:
        return split_image(request.query.get("image", ""), self._registries.names, self._registries.default)
