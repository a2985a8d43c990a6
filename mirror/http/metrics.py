"""`GET /metrics`, for Prometheus."""

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

Render = Callable[[str], Awaitable[tuple[bytes, str]]]
"""Gives the metrics in a format that an `Accept` header takes, and its media type."""


class MetricsHandlers:
    """The handler of metrics."""

    def __init__(self, render: Render) -> None:
        self._render = render

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        return [web.get("/metrics", self.get)]

    async def get(self, request: web.Request) -> web.Response:
        """Answer a scrape."""
        body, content_type = await self._render(request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})
