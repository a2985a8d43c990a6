"""`/v2/<name>/_mirror/status/<reference>`: where an image stands, for the builder that pushed it.

No repository can be called like that: the components of a name do not begin with an underscore.
"""

from aiohttp import web

from mirror.core.access import Action
from mirror.core.follow import Follow
from mirror.core.watch import Watch
from mirror.http import target
from mirror.http.events import EventStreams, wants_events
from mirror.http.guard import Guard
from mirror.http.rendering import render
from mirror.oci.errors import Problem, RegistryError


class StatusHandlers:
    """The handlers of statuses."""

    def __init__(self, watch: Watch, follow: Follow, guard: Guard) -> None:
        self._watch = watch
        self._follow = follow
        self._guard = guard
        self._streams = EventStreams()

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        return [web.get("/v2/{name:.+}/_mirror/status/{reference:[^/]+}", self.get, allow_head=False)]

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Say where an image stands; with `Accept: text/event-stream` each change of it, until it is final."""
        repository, reference = self._guard.repository(request, Action.STATUS), target.reference(request)
        status = await self._watch.status(repository, reference)
        if status is None:
            raise RegistryError(Problem.MANIFEST_UNKNOWN, str(reference))
        if wants_events(request):
            return await self._streams.answer(request, self._follow.image(repository, reference))
        return web.json_response(render(status), headers={"Cache-Control": "no-store"})
