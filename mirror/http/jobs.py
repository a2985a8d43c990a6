"""`/jobs` on the admin socket: what an operator sees of jobs, and does about them."""

from collections.abc import Iterable

from aiohttp import web

from mirror.core.jobs import State
from mirror.core.operate import Operator, Verdict
from mirror.http.rendering import render, render_task
from mirror.oci.errors import Problem, RegistryError

_MOST_TASKS = 1000
_LONGEST_ID = 18


class JobHandlers:
    """The handlers of jobs."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        return [
            web.get("/jobs", self.list),
            web.get(r"/jobs/{job:\d{1,18}}", self.show),
            web.post("/jobs/retry", self.retry),
            web.post("/jobs/cancel", self.cancel),
        ]

    async def list(self, request: web.Request) -> web.Response:
        """The tasks in `state`, without it all that are not over; `more` says that there are others behind them."""
        tasks = await self._operator.tasks(_state(request.query.get("state")), _MOST_TASKS + 1)
        shown = [render_task(task) for task in tasks[:_MOST_TASKS]]
        return web.json_response({"tasks": shown, "more": len(tasks) > len(shown)})

    async def show(self, request: web.Request) -> web.Response:
        """Everything of one job: its status, and each of its tasks."""
        job = int(request.match_info["job"])
        status, tasks = await self._operator.job(job)
        if status is None:
            raise RegistryError(Problem.JOB_UNKNOWN, str(job))
        held = {"media_type": status.job.media_type, "lease": status.job.lease}
        return web.json_response({**render(status), **held, "tasks": [render_task(task) for task in tasks]})

    async def retry(self, request: web.Request) -> web.Response:
        """Let each `job`, or with `all` every one that waits or is parked, be attempted now."""
        if "all" in request.query:
            return _verdicts(await self._operator.retry_all())
        return _verdicts(await self._operator.retry(_ids(request)))

    async def cancel(self, request: web.Request) -> web.Response:
        """Give up each `job`."""
        return _verdicts(await self._operator.cancel(_ids(request)))


def _state(text: str | None) -> State | None:
    try:
        return None if text is None else State(text)
    except ValueError as error:
        raise RegistryError(Problem.BAD_REQUEST, f"state is one of {', '.join(State)}") from error


def _ids(request: web.Request) -> list[int]:
    texts = request.query.getall("job", [])
    if not texts or not all(text.isdecimal() and text.isascii() and len(text) <= _LONGEST_ID for text in texts):
        raise RegistryError(Problem.BAD_REQUEST, "job=<id> is needed, once for each job")
    return [int(text) for text in dict.fromkeys(texts)]


def _verdicts(verdicts: Iterable[Verdict]) -> web.Response:
    return web.json_response(
        {"jobs": [{"job": one.job, "tasks": one.kinds, "refusal": one.refusal or None} for one in verdicts]}
    )
