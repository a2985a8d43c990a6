"""`/v2/<name>/blobs/uploads/`: opening, feeding, asking after, finishing and cancelling upload sessions."""

from http import HTTPStatus

from aiohttp import web

from mirror.core.access import Action
from mirror.core.push import BlobPush
from mirror.core.upload import Chunk, parse_content_range, progress
from mirror.http import target
from mirror.http.body import BodyReader
from mirror.http.guard import Guard
from mirror.http.identify import PARTY
from mirror.oci.names import Digest, Repository

# Smaller chunks are taken too; each costs a round trip and a commit of the journal.
_CHUNK_ADVICE = str(64 * 1024)


class UploadHandlers:
    """The handlers of upload sessions."""

    def __init__(self, push: BlobPush, guard: Guard, bodies: BodyReader) -> None:
        self._push = push
        self._guard = guard
        self._bodies = bodies

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        session = "/v2/{name:.+}/blobs/uploads/{upload:[^/]+}"
        return [
            web.post("/v2/{name:.+}/blobs/uploads/", self.post),
            web.get(session, self.get, allow_head=False),
            web.patch(session, self.patch),
            web.put(session, self.put),
            web.delete(session, self.delete),
        ]

    async def post(self, request: web.Request) -> web.Response:
        """Open a session, or have a blob at once: from the body or another repository (spec: end-4a, b, c, end-11)."""
        repository = self._guard.repository(request, Action.PUSH)
        target.check_algorithm(request)
        if "digest" in request.query:
            digest = target.digest(request)
            await self._push.push(repository, digest, self._chunk(request))
            return _created(request, repository, digest)
        if "mount" in request.query and await self._mount(request, repository):
            return _created(request, repository, target.mount(request))
        upload = await self._push.begin(repository, request[PARTY])
        answer = _accepted(request, repository, upload.id, 0, HTTPStatus.ACCEPTED)
        answer.headers["OCI-Chunk-Min-Length"] = _CHUNK_ADVICE
        return answer

    async def _mount(self, request: web.Request, repository: Repository) -> bool:
        source = target.source(request, repository.registry)
        digest = target.mount(request)
        return self._guard.may_mount(request, source) and await self._push.mount(
            repository, digest, source, request[PARTY]
        )

    async def patch(self, request: web.Request) -> web.Response:
        """Take a chunk (spec: end-5)."""
        repository, upload = self._session(request)
        offset = await self._push.append(repository, upload, self._chunk(request))
        return _accepted(request, repository, upload, offset, HTTPStatus.ACCEPTED)

    async def put(self, request: web.Request) -> web.Response:
        """Take the last chunk and make the bytes a blob (spec: end-6)."""
        repository, upload = self._session(request)
        digest = target.digest(request)
        await self._push.finish(repository, upload, digest, self._chunk(request))
        return _created(request, repository, digest)

    async def get(self, request: web.Request) -> web.Response:
        """Say how far a session is (spec: end-13)."""
        repository, upload = self._session(request)
        offset = await self._push.offset(repository, upload)
        return _accepted(request, repository, upload, offset, HTTPStatus.NO_CONTENT)

    async def delete(self, request: web.Request) -> web.Response:
        """Cancel a session (spec: end-14)."""
        repository, upload = self._session(request)
        await self._push.cancel(repository, upload)
        return web.Response(status=HTTPStatus.NO_CONTENT)

    def _chunk(self, request: web.Request) -> Chunk:
        start, length = parse_content_range(request.headers.get("Content-Range"), request.content_length)
        return Chunk(self._bodies.stream(request), start, length, request[PARTY])

    def _session(self, request: web.Request) -> tuple[Repository, str]:
        return self._guard.repository(request, Action.PUSH), request.match_info["upload"]


def _accepted(
    request: web.Request, repository: Repository, upload: str, offset: int, status: HTTPStatus
) -> web.Response:
    headers = {
        "Location": target.location(request, f"/v2/{repository.path}/blobs/uploads/{upload}"),
        "Range": progress(offset),
        "Docker-Upload-UUID": upload,
    }
    return web.Response(status=status, headers=headers)


def _created(request: web.Request, repository: Repository, digest: Digest) -> web.Response:
    headers = {
        "Location": target.location(request, f"/v2/{repository.path}/blobs/{digest}"),
        "Docker-Content-Digest": digest,
    }
    return web.Response(status=HTTPStatus.CREATED, headers=headers)
