"""Around every request of builders: a span, in the trace that the client says it is in.

Source: W3C Trace Context; OpenTelemetry's semantic conventions of HTTP servers.
"""

from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from mirror.core.ports import Tracer
from mirror.core.trace import Trace
from mirror.http.middleware import REQUEST_ID, method_of, route_of


def tracing(tracer: Tracer) -> Middleware:
    """Have every request be a span, from its head to the end of its answer; the line in the log is within."""

    @web.middleware
    async def trace(request: web.Request, handler: Handler) -> web.StreamResponse:
        method, route = method_of(request), route_of(request)
        said = {"http.request.method": method, "http.route": route, "url.path": request.path}
        with tracer.joined(f"{method} {route}", _given(request), said, "server") as span:
            response = await handler(request)
            span.note({"http.response.status_code": response.status, "registry_mirror.request": request[REQUEST_ID]})
            if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                span.fail(HTTPStatus(response.status).phrase)
            return response

    return trace


def _given(request: web.Request) -> Trace | None:
    """What the client is in; more than one `traceparent` says nothing."""
    parents = request.headers.getall("traceparent", [])
    return Trace(parents[0], ",".join(request.headers.getall("tracestate", []))) if len(parents) == 1 else None
