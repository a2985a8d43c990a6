"""The operator's side, on a unix socket: where things stand, and waiting for an image."""

from aiohttp import web

from mirror.core.jobs import Kind, State, Task
from mirror.core.ports import Clock
from mirror.core.registries import Registries
from mirror.core.watch import Watch
from mirror.http.middleware import errors, request_log
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.names import split_image

_KINDS = {"unpacked": Kind.UNPACK, "replicated": Kind.REPLICATE}
_MOST_TASKS = 100


def admin_application(*, watch: Watch, registries: Registries, clock: Clock) -> web.Application:
    """Build the admin application."""
    app = web.Application(middlewares=[request_log(clock), errors])
    app.router.add_routes(AdminHandlers(watch, registries).routes())
    return app


class AdminHandlers:
    """The handlers of the admin socket."""

    def __init__(self, watch: Watch, registries: Registries) -> None:
        self._watch = watch
        self._registries = registries

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        return [web.get("/status", self.status), web.get("/wait", self.wait)]

    async def status(self, _: web.Request) -> web.Response:
        """Counts of tasks by kind and state, and the oldest unfinished ones."""
        tasks = await self._watch.unfinished(_MOST_TASKS)
        return web.json_response({"counts": await self._watch.counts(), "tasks": [_shown(task) for task in tasks]})

    async def wait(self, request: web.Request) -> web.Response:
        """Answer when `image` is unpacked or replicated (`for`), or when `timeout` seconds are over."""
        repository, reference = split_image(
            request.query.get("image", ""), self._registries.names, self._registries.default
        )
        kind, seconds = _KINDS.get(request.query.get("for", "")), _seconds(request.query.get("timeout", ""))
        if kind is None or seconds is None:
            raise RegistryError(Problem.BAD_REQUEST, "for=unpacked|replicated and timeout=<seconds> are needed")
        task = await self._watch.wait(repository, reference, kind, seconds)
        if task is None:
            raise RegistryError(Problem.MANIFEST_UNKNOWN, repository.image(reference))
        return web.json_response(_shown(task) | {"reached": task.state in {State.DONE, State.SKIPPED}})


def _seconds(text: str) -> float | None:
    try:
        return max(float(text), 0.0)
    except ValueError:
        return None


def _shown(task: Task) -> dict[str, object]:
    return {
        "job": task.job.id,
        "image": task.job.image,
        "digest": task.job.digest,
        "kind": task.kind,
        "state": task.state,
        "attempts": task.attempts,
        "reason": task.reason,
        "created": task.job.created,
        "not_before": task.not_before,
    }
