"""Each request, measured: under the pattern of its route, as addresses are as many as there are images."""

from typing import Protocol

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from mirror.core.ports import Clock
from mirror.http.inlet import received

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_OTHER, _NO_ROUTE = "other", "none"
_CLIENT_GONE = 499  # as in the log


class Measures(Protocol):
    """Whoever is told of requests."""

    def request_answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """One was answered after so many seconds; what has no route is `none`."""

    def bodies(self, received: int, sent: int) -> None:
        """It had a body of so many bytes, as far as that came, and its answer one."""


def measured(measures: Measures, clock: Clock) -> Middleware:
    """Tell of every request."""

    @web.middleware
    async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = clock.monotonic()
        status, sent = _CLIENT_GONE, 0
        try:
            response = await handler(request)
            status, sent = response.status, _length(request, response)
            return response
        finally:
            method = request.method if request.method in _METHODS else _OTHER
            measures.request_answered(method, _route(request), status, clock.monotonic() - began)
            measures.bodies(received(request), sent)

    return measure


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource else _NO_ROUTE


def _length(request: web.Request, response: web.StreamResponse) -> int:
    return 0 if request.method == "HEAD" else response.content_length or 0
