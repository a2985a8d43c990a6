"""A server that answers as a test tells it to: an upstream that does what a real one cannot be made to do."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from mirror.oci.manifest import Descriptor
from mirror.oci.names import Repository, digest_of

REPOSITORY = Repository("registry.example.com", "team/app")
DATA = b"data" * 1000
BLOB = Descriptor(digest=digest_of(DATA), size=len(DATA))
STATE = "_state=sEcReT%2B%2F%3D"
BIG = 32 << 20

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def accept(request: web.Request) -> web.StreamResponse:
    """What a registry that works would say to a request of an upload."""
    if request.method == "POST":
        return web.Response(status=202, headers={"Location": f"/v2/team/app/blobs/uploads/1?{STATE}"})
    return web.Response(status=201)


@dataclass
class Scripted:
    """A server that answers every request by one function, and remembers what it saw."""

    answer: Answer = accept
    seen: list[tuple[str, URL, str | None, bytes]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list, repr=False)
    url: URL = field(default_factory=URL)
    reads: bool = True

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Note method, URL, headers, credentials and body, and answer."""
        body = await request.read() if self.reads else b""
        self.headers.append(request.headers)
        self.seen.append(
            (request.method, URL(request.raw_path, encoded=True), request.headers.get("Authorization"), body)
        )
        return await self.answer(request)

    def always(self, status: int, headers: Mapping[str, str] | None = None, body: str = "") -> None:
        """Answer everything like this."""

        async def answer(_: web.Request) -> web.StreamResponse:
            return web.Response(status=status, headers=headers, text=body)

        self.answer = answer


@asynccontextmanager
async def serving() -> AsyncIterator[Scripted]:
    """A server, for the length of the body."""
    scripted = Scripted()
    app = web.Application(client_max_size=2 * BIG)
    app.router.add_route("*", "/{path:.*}", scripted.handle)
    async with TestServer(app, shutdown_timeout=0) as server:
        scripted.url = server.make_url("/")
        yield scripted


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    """A body in just these pieces."""
    for piece in data:
        yield piece
