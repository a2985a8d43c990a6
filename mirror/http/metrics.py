"""`/metrics` on the admin listener."""

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

Exposition = Callable[[str], Awaitable[tuple[bytes, str]]]
"""All metrics in the format that an Accept header asks for, and its media type."""


class MetricHandlers:
    """The handler of metrics."""

    def __init__(self, expose: Exposition) -> None:
        self._expose = expose

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        return [web.get("/metrics", self.get)]

    async def get(self, request: web.Request) -> web.Response:
        """Tell all of them, as Prometheus or OpenMetrics text."""
        body, media_type = await self._expose(request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: media_type})
