"""`/limits` on the admin socket: how fast replication goes, and going on faster or slower."""

from aiohttp import web

from mirror.core.replication.pace import Limits
from mirror.http import query
from mirror.oci.errors import Problem, RegistryError


class LimitHandlers:
    """The handlers of limits. Rates are bytes per second; 0 is no limit, as in the settings."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        return [web.get("/limits", self.show), web.post("/limits", self.change)]

    async def show(self, _: web.Request) -> web.Response:
        """Tell the rate of all upstreams together (`shared`), and of each."""
        own = {registry: rate or 0 for registry, rate in self._limits.own.items()}
        return web.json_response({"shared": self._limits.shared or 0, "upstreams": own})

    async def change(self, request: web.Request) -> web.Response:
        """Go on at `rate` to `upstream`, or without one to all together; then tell all rates."""
        rate = query.number(request, "rate")
        if rate is None:
            raise RegistryError(
                Problem.BAD_REQUEST, "rate=<bytes per second> is needed, of at most 18 digits; 0 is no limit"
            )
        self._limits.change(request.query.get("upstream"), rate or None)
        return await self.show(request)
