"""Uploads that are mounted, found again and gone on with, blobs that are read back, and who counts as there.

All of it against a server that does what a real registry cannot be made to do.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from aiohttp import web
from yarl import URL

from mirror.core.errors import ContentMissingError, UpstreamError
from mirror.core.ports import Transfer, Upstream
from mirror.oci.manifest import OCI_INDEX, OCI_MANIFEST
from mirror.oci.names import Repository
from mirror.upstream.client import RegistryClient
from mirror.upstream.credentials import Credentials
from tests.contract.scripted import BLOB, DATA, REPOSITORY, STATE, Scripted, accept, pieces
from tests.contract.upstreams import Leaps, read_blob, send_blob, transport_to
from tests.rig.ports import free_port

OTHER = Repository(REPOSITORY.registry, "team/other")
UPLOADS = "/v2/team/app/blobs/uploads/"
BASIC = "Basic YnVpbGRlcjpodW50ZXIy"
SHORT = 0.1
AGES = 3600.0
"""Seconds, longer than any upstream may take for anything."""


@asynccontextmanager
async def connected(url: URL, stall: float = 30) -> AsyncIterator[Upstream]:
    """A client with credentials."""
    async with transport_to(url, credentials=Credentials("builder", "hunter2"), stall=stall) as transport:
        yield RegistryClient(transport)


@pytest_asyncio.fixture
async def upstream(server: Scripted) -> AsyncIterator[Upstream]:
    async with connected(server.url) as upstream:
        yield upstream


def at(server: Scripted, offset: int = 0, path: str = "up/1") -> Transfer:
    """An upload that broke off."""
    return Transfer(f"{server.url}{path}?{STATE}", offset)


class TestMount:
    async def test_it_worked(self, server: Scripted, upstream: Upstream) -> None:
        """One request that names the blob and where it lies, without a body, and no upload after it."""
        server.always(201, {"Location": "/v2/team/app/blobs/x"})
        assert await upstream.begin_upload(REPOSITORY, BLOB.digest, OTHER) is None
        ((method, url, _, body),) = server.seen
        assert (method, url.path, dict(url.query)) == ("POST", UPLOADS, {"mount": BLOB.digest, "from": OTHER.path})
        assert body == b""

    async def test_it_is_not_possible(self, server: Scripted, upstream: Upstream) -> None:
        """A 202 is an upload like any other."""
        transfer = await upstream.begin_upload(REPOSITORY, BLOB.digest, OTHER)
        assert transfer == Transfer(f"{server.url}{UPLOADS.removeprefix('/')}1?{STATE}", 0)
        await upstream.upload_blob(REPOSITORY, BLOB, transfer, pieces(DATA))
        assert [(method, body) for method, _, _, body in server.seen] == [("POST", b""), ("PUT", DATA)]

    async def test_nobody_asked_for_it(self, server: Scripted, upstream: Upstream) -> None:
        """A 201 to a plain POST cannot be a mount: the blob is sent to where it leads."""
        server.always(201, {"Location": "/up/1"})
        assert await upstream.begin_upload(REPOSITORY, BLOB.digest) == Transfer(f"{server.url}up/1", 0)
        assert [dict(url.query) for _, url, _, _ in server.seen] == [{}]

    async def test_it_needs_to_read_there(self, server: Scripted, stranger: Scripted, upstream: Upstream) -> None:
        """The token for it is good for both repositories, and for the other no more than it takes."""

        async def ask_for_a_token(request: web.Request) -> web.StreamResponse:
            if request.headers["Authorization"] == "Bearer t":
                return web.Response(status=201)
            return web.Response(status=401, headers={"WWW-Authenticate": f'Bearer realm="{stranger.url}token"'})

        server.answer = ask_for_a_token
        stranger.always(200, body='{"token": "t"}')
        assert await upstream.begin_upload(REPOSITORY, BLOB.digest, OTHER) is None
        ((_, url, _, _),) = stranger.seen
        assert set(url.query.getall("scope")) == {
            f"repository:{REPOSITORY.path}:pull,push",
            f"repository:{OTHER.path}:pull",
        }

    async def test_it_is_refused(self, server: Scripted, upstream: Upstream) -> None:
        """For good, with the upstream's code, so that whoever asked can do without."""
        server.always(404, body='{"errors": [{"code": "NAME_UNKNOWN"}]}')
        with pytest.raises(UpstreamError) as refusal:
            await upstream.begin_upload(REPOSITORY, BLOB.digest, OTHER)
        assert (refusal.value.transient, refusal.value.code) == (False, "NAME_UNKNOWN")


class TestFindUpload:
    @pytest.mark.parametrize(("said", "offset"), [("0-99", 100), ("bytes=0-99", 100), ("0-1", 2), ("0-3999", 4000)])
    async def test_where_it_stands(self, server: Scripted, upstream: Upstream, said: str, offset: int) -> None:
        """The last byte that is there is the number that counts."""
        server.always(204, {"Range": said})
        assert await upstream.find_upload(REPOSITORY, at(server)) == at(server, offset)
        ((method, url, sent_by, _),) = server.seen
        assert (method, url.raw_path_qs, sent_by) == ("GET", f"/up/1?{STATE}", BASIC)

    @pytest.mark.parametrize("said", [None, "", "0-0", "bytes=0-0", "0-", "5-99", "0-9,20-29", "bytes 0-99/200", "-1"])
    async def test_it_does_not_say(self, server: Scripted, upstream: Upstream, said: str | None) -> None:
        """No Range, one that is none, and one that may mean a byte or nothing: it cannot be gone on with."""
        server.always(204, {} if said is None else {"Range": said})
        assert await upstream.find_upload(REPOSITORY, at(server, 7)) is None

    @pytest.mark.parametrize("location", ["/up/2", "{url}up/2", "//{authority}/up/2"])
    async def test_it_moved(self, server: Scripted, upstream: Upstream, location: str) -> None:
        """A new Location, relative or absolute, is where it goes on."""
        where = location.format(url=server.url, authority=server.url.authority)
        server.always(204, {"Range": "0-6", "Location": f"{where}?{STATE}"})
        assert await upstream.find_upload(REPOSITORY, at(server)) == at(server, 7, "up/2")

    async def test_at_another_host(self, server: Scripted, stranger: Scripted, upstream: Upstream) -> None:
        """Which is asked without credentials, and whose Location of its own is taken."""
        stranger.always(204, {"Range": "0-6", "Location": f"{stranger.url}up/2?{STATE}"})
        assert await upstream.find_upload(REPOSITORY, at(stranger)) == at(stranger, 7, "up/2")
        assert [sent_by for _, _, sent_by, _ in stranger.seen] == [None]
        assert server.seen == []

    @pytest.mark.parametrize("location", ["http://[", "ftp://x/up/2", "mailto:me@example.com"])
    async def test_it_leads_nowhere(self, server: Scripted, upstream: Upstream, location: str) -> None:
        """It cannot be gone on with, but begun anew, so that nobody has to be told."""
        server.always(204, {"Range": "0-6", "Location": location})
        assert await upstream.find_upload(REPOSITORY, at(server)) is None

    @pytest.mark.parametrize(
        ("status", "code"),
        [
            *((404, code) for code in ("", "BLOB_UPLOAD_UNKNOWN")),
            *((status, "BLOB_UPLOAD_INVALID") for status in (400, 500)),
            *((status, "") for status in (403, 405, 416)),
        ],
    )
    async def test_it_is_forgotten(self, server: Scripted, upstream: Upstream, status: int, code: str) -> None:
        """The upstream knows no such upload, or will not say: there is nothing to go on with."""
        server.always(status, {"Range": "0-6"}, f'{{"errors": [{{"code": "{code}"}}]}}')
        assert await upstream.find_upload(REPOSITORY, at(server)) is None

    @pytest.mark.parametrize("status", [408, 429, 500, 503])
    async def test_it_cannot_be_said_now(self, server: Scripted, upstream: Upstream, status: int) -> None:
        """Then nothing is known of the upload, and what it has must not be given up."""
        server.always(status)
        with pytest.raises(UpstreamError) as refusal:
            await upstream.find_upload(REPOSITORY, at(server))
        assert refusal.value.transient


class TestGoingOn:
    async def test_only_the_rest(self, server: Scripted, upstream: Upstream) -> None:
        """The request says which bytes they are, and finishes the upload."""
        await upstream.upload_blob(REPOSITORY, BLOB, at(server, 7), pieces(DATA[7:100], DATA[100:]))
        ((method, url, _, body),) = server.seen
        assert (method, dict(url.query)) == ("PUT", {"_state": "sEcReT+/=", "digest": BLOB.digest})
        assert body == DATA[7:]
        assert server.headers[0]["Content-Range"] == f"7-{BLOB.size - 1}"
        assert server.headers[0]["Content-Length"] == str(BLOB.size - 7)

    async def test_nothing_is_left(self, server: Scripted, upstream: Upstream) -> None:
        """An empty PUT finishes it: there is no range of no bytes."""
        await upstream.upload_blob(REPOSITORY, BLOB, at(server, BLOB.size), pieces())
        ((method, url, _, body),) = server.seen
        assert (method, url.query["digest"], body) == ("PUT", BLOB.digest, b"")
        assert server.headers[0]["Content-Length"] == "0"
        assert "Content-Range" not in server.headers[0]

    async def test_all_of_it(self, server: Scripted, upstream: Upstream) -> None:
        """A whole blob is no range: a registry that knows no ranges takes it too."""
        await send_blob(upstream, REPOSITORY, BLOB, pieces(DATA))
        assert "Content-Range" not in server.headers[-1]

    async def test_our_own_slowness_is_no_stall(self, server: Scripted, upstream: Upstream) -> None:
        """However long our side takes for a piece, be it the first or the last: nothing is given up."""
        time = Leaps()

        async def slow() -> AsyncIterator[bytes]:
            for piece in (DATA[:7], DATA[7:100], DATA[100:]):
                await time.leap(AGES)
                yield piece

        await upstream.upload_blob(REPOSITORY, BLOB, at(server), slow())
        assert server.seen[0][3] == DATA


class TestReadBlob:
    @staticmethod
    async def read(upstream: Upstream) -> bytes:
        """All of the blob."""
        return await read_blob(upstream, REPOSITORY, BLOB.digest)

    async def test_its_bytes(self, server: Scripted, upstream: Upstream) -> None:
        """All of them, with credentials, and unchanged whatever encoding the upstream claims."""

        async def serve(_: web.Request) -> web.StreamResponse:
            return web.Response(body=DATA, headers={"Content-Encoding": "gzip"})

        server.answer = serve
        assert await self.read(upstream) == DATA
        assert [(url.path, sent_by) for _, url, sent_by, _ in server.seen] == [
            (f"/v2/team/app/blobs/{BLOB.digest}", BASIC)
        ]

    async def test_it_is_not_there(self, server: Scripted, upstream: Upstream) -> None:
        """Which is not a failure of the upstream: it is missing there too, by its digest."""
        server.always(404)
        with pytest.raises(ContentMissingError) as missing:
            await self.read(upstream)
        assert str(missing.value) == BLOB.digest

    async def test_from_another_host(self, server: Scripted, stranger: Scripted, upstream: Upstream) -> None:
        """Object storage may serve it, but gets no credentials."""

        async def serve(_: web.Request) -> web.StreamResponse:
            return web.Response(body=DATA)

        server.always(307, {"Location": f"{stranger.url}data?{STATE}"})
        stranger.answer = serve
        assert await self.read(upstream) == DATA
        assert [(url.raw_path_qs, sent_by) for _, url, sent_by, _ in stranger.seen] == [(f"/data?{STATE}", None)]

    @pytest.mark.parametrize("how", ["reset", "end", "stall"])
    async def test_it_breaks_in_the_middle(self, server: Scripted, how: str) -> None:
        """Half a blob is never taken for one: what was read so far ends with a transient error."""
        over = asyncio.Event()

        async def half(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Length": str(BLOB.size)})
            await response.prepare(request)
            await response.write(DATA[:100])
            if how == "stall":
                await over.wait()
            elif request.transport:
                request.transport.abort() if how == "reset" else request.transport.close()
            return response

        server.answer = half
        got = bytearray()
        async with connected(server.url, stall=SHORT) as upstream:
            with pytest.raises(UpstreamError) as broken:  # noqa: PT012 - half of it is read without an error
                async with upstream.open_blob(REPOSITORY, BLOB.digest) as incoming:
                    async for data in incoming.data:
                        got += data
        over.set()
        assert DATA.startswith(got)
        assert (broken.value.transient, broken.value.away) == (True, True)


class TestListsReferrers:
    @pytest.mark.parametrize(
        ("status", "media_type", "does"),
        [
            (200, OCI_INDEX, True),
            (200, f"{OCI_INDEX}; charset=utf-8", True),
            (200, "text/html", False),
            (200, "application/json", False),
            (404, OCI_INDEX, False),
            *((status, "application/json", False) for status in (400, 401, 403, 405)),
        ],
    )
    async def test_whether_it_does(
        self, server: Scripted, upstream: Upstream, status: int, media_type: str, *, does: bool
    ) -> None:
        """Only an index is a list: a page for people, a refusal and a 404 are all a no."""
        server.always(status, {"Content-Type": media_type}, "{}")
        assert await upstream.lists_referrers(REPOSITORY, BLOB.digest) is does
        assert server.seen[0][1].path == f"/v2/team/app/referrers/{BLOB.digest}"
        assert server.headers[0]["Accept"] == OCI_INDEX

    @pytest.mark.parametrize("status", [429, 500, 503])
    async def test_it_cannot_be_said_now(self, server: Scripted, upstream: Upstream, status: int) -> None:
        """Taken for a no, a list would be kept beside the upstream's own."""
        server.always(status)
        with pytest.raises(UpstreamError) as refusal:
            await upstream.lists_referrers(REPOSITORY, BLOB.digest)
        assert refusal.value.transient


class TestProbe:
    @pytest.mark.parametrize("status", [200, 401, 403, 404, 429])
    async def test_it_is_there(self, server: Scripted, upstream: Upstream, status: int) -> None:
        """Whoever answers is, whatever the answer."""
        server.always(status)
        await upstream.probe()
        assert [(method, url.path) for method, url, _, _ in server.seen] == [("GET", "/v2/")]

    @pytest.mark.parametrize("status", [500, 502, 503])
    async def test_it_cannot(self, server: Scripted, upstream: Upstream, status: int) -> None:
        """A proxy that answers for an upstream that is away says so by its status."""
        server.always(status)
        with pytest.raises(UpstreamError) as refusal:
            await upstream.probe()
        assert (refusal.value.away, refusal.value.status) == (True, status)

    async def test_nobody_answers(self) -> None:
        """No connection is no answer."""
        async with connected(URL(f"http://127.0.0.1:{free_port()}")) as upstream:
            with pytest.raises(UpstreamError) as refusal:
                await upstream.probe()
        assert refusal.value.away

    async def test_it_says_nothing(self, server: Scripted) -> None:
        """An upstream that takes the request and goes silent is still away."""
        over = asyncio.Event()

        async def stall(request: web.Request) -> web.StreamResponse:
            await over.wait()
            return await accept(request)

        server.answer = stall
        async with connected(server.url, stall=SHORT) as upstream:
            with pytest.raises(UpstreamError) as refusal:
                await upstream.probe()
        over.set()
        assert refusal.value.away

    async def test_it_passes_when_nothing_else_does(self, server: Scripted, upstream: Upstream) -> None:
        """Once the upstream is taken to be away no request reaches it but this one, again and again."""
        server.always(500)
        for _ in range(3):
            with pytest.raises(UpstreamError, match="500"):
                await upstream.has_blob(REPOSITORY, BLOB)
        with pytest.raises(UpstreamError, match="is away"):
            await upstream.has_blob(REPOSITORY, BLOB)
        assert len(server.seen) == 3
        for seen in (4, 5):
            with pytest.raises(UpstreamError, match="500"):
                await upstream.probe()
            assert len(server.seen) == seen


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "away"), [(400, False), (404, False), (408, False), (429, False), (500, True), (503, True)]
    )
    async def test_of_an_answer(self, server: Scripted, upstream: Upstream, status: int, *, away: bool) -> None:
        """It says with which status and code; 5xx is the upstream's own failure, and it is there to have it."""
        server.always(status, body='{"errors": [{"code": "TOOMANYREQUESTS", "message": "later"}]}')
        with pytest.raises(UpstreamError) as raised:
            await upstream.put_manifest(REPOSITORY, "v1", OCI_MANIFEST, b"{}")
        error = raised.value
        assert (error.status, error.code, error.away, error.is_failing) == (status, "TOOMANYREQUESTS", away, away)

    async def test_of_none(self) -> None:
        """Without an answer there is neither: the upstream is away, and not failing at anything."""
        async with connected(URL(f"http://127.0.0.1:{free_port()}")) as upstream:
            with pytest.raises(UpstreamError) as raised:
                await upstream.put_manifest(REPOSITORY, "v1", OCI_MANIFEST, b"{}")
        error = raised.value
        assert (error.status, error.code, error.away, error.is_failing) == (0, "", True, False)

    async def test_of_an_answer_without_words(self, server: Scripted, upstream: Upstream) -> None:
        """No code is made up."""
        server.always(502, body="<html>Bad Gateway</html>")
        with pytest.raises(UpstreamError) as raised:
            await upstream.put_manifest(REPOSITORY, "v1", OCI_MANIFEST, b"{}")
        assert (raised.value.status, raised.value.code) == (502, "")
