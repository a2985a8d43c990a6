"""`/v2/<name>/manifests/<reference>`: pushing, reading and deleting manifests."""

from http import HTTPStatus

from aiohttp import web

from mirror.core.access import Action
from mirror.core.publish import ManifestPush
from mirror.core.remove import Removal
from mirror.core.through.through import Through
from mirror.core.watch import Watch
from mirror.http import prefer, target
from mirror.http.body import BodyReader
from mirror.http.content import only_asks, respond
from mirror.http.guard import Guard
from mirror.http.identify import PRINCIPAL


class ManifestHandlers:
    """The handlers of manifests, which have `largest` bytes at most."""

    def __init__(
        self,
        push: ManifestPush,
        through: Through,
        removal: Removal,
        watch: Watch,
        guard: Guard,
        bodies: BodyReader,
        *,
        largest: int,
    ) -> None:
        self._push = push
        self._through = through
        self._removal = removal
        self._watch = watch
        self._guard = guard
        self._bodies = bodies
        self._largest = largest

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        path = "/v2/{name:.+}/manifests/{reference:[^/]+}"
        return [web.get(path, self.get), web.put(path, self.put), web.delete(path, self.delete)]

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Send a manifest as it was pushed, whatever `Accept` says (spec: end-3)."""
        repository = self._guard.repository(request, Action.PULL)
        stored = await self._through.manifest(repository, target.reference(request), hold=only_asks(request))
        return await respond(request, self._through.here, stored)

    async def put(self, request: web.Request) -> web.Response:
        """Acknowledge an image: after this 201 it reaches the upstream (spec: end-7a, end-7b)."""
        repository = self._guard.repository(request, Action.PUSH)
        references = target.references(request)
        content_type = request.headers.get("Content-Type", "")
        body = await self._bodies.whole(request, self._largest)
        pushed = await self._push.put(repository, references, content_type, body, request[PRINCIPAL])
        manifest = pushed.manifest
        headers = {
            "Location": target.location(request, f"/v2/{repository.path}/manifests/{manifest.digest}"),
            "Docker-Content-Digest": manifest.digest,
        }
        if manifest.subject:
            headers["OCI-Subject"] = manifest.subject.digest
        if len(references) > 1:
            headers["OCI-Tag"] = ", ".join(str(reference) for reference in references[1:])
        headers |= await self._wait(request, [job.id for job in pushed.jobs])
        return web.Response(status=HTTPStatus.CREATED, headers=headers)

    async def _wait(self, request: web.Request, jobs: list[int]) -> dict[str, str]:
        """Where the client prefers it, wait for the upstream and say how far it came; it is acknowledged either way."""
        seconds = prefer.upstream_wait(request)
        if seconds is None:
            return {}
        phase = await self._watch.upstream(jobs, seconds)
        return {"Preference-Applied": "wait=upstream", "Registry-Mirror-Status": phase}

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a tag, or a manifest with its tags, here (spec: end-9)."""
        repository = self._guard.repository(request, Action.DELETE)
        await self._removal.manifest(repository, target.reference(request))
        return web.Response(status=HTTPStatus.ACCEPTED)
