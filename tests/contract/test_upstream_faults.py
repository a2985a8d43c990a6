"""The client of the upstream against a server that does what a real registry cannot be made to do."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from aiohttp import web
from yarl import URL

from mirror.core.errors import ContentMissingError, UpstreamError
from mirror.core.ports import Upstream
from mirror.oci.manifest import MAX_MANIFEST, OCI_MANIFEST, Descriptor
from mirror.upstream.client import RegistryClient
from mirror.upstream.credentials import Credentials
from tests.contract.scripted import BIG, BLOB, DATA, REPOSITORY, STATE, Scripted, accept, pieces
from tests.contract.upstreams import PATIENT, Leaps, send_blob, transport_to
from tests.rig.ports import free_port

CREDENTIALS = Credentials("builder", "hunter2")
SECRETS = ("hunter2", "YnVpbGRlcjpodW50ZXIy", "sEcReT")
IMPATIENT = 0.3

Call = Callable[[Upstream], Awaitable[object]]


@asynccontextmanager
async def connected(url: URL, stall: float = PATIENT) -> AsyncIterator[Upstream]:
    """A client with credentials."""
    async with transport_to(url, credentials=CREDENTIALS, tls=None, stall=stall) as transport:
        yield RegistryClient(transport)


@pytest_asyncio.fixture
async def upstream(server: Scripted) -> AsyncIterator[Upstream]:
    async with connected(server.url) as upstream:
        yield upstream


CALLS: dict[str, Call] = {
    "has_blob": lambda upstream: upstream.has_blob(REPOSITORY, BLOB),
    "upload_blob": lambda upstream: send_blob(upstream, REPOSITORY, BLOB, pieces(DATA)),
    "put_manifest": lambda upstream: upstream.put_manifest(REPOSITORY, "v1", OCI_MANIFEST, b"{}"),
    "get_manifest": lambda upstream: upstream.get_manifest(REPOSITORY, "v1", OCI_MANIFEST),
}


async def refusal(upstream: Upstream, call: str) -> UpstreamError:
    """The error that a call ends with; whatever it is, it holds no secret."""
    with pytest.raises(UpstreamError) as raised:
        await CALLS[call](upstream)
    assert not [secret for secret in SECRETS if secret in f"{raised.value} {raised.value!r}"]
    return raised.value


NO_WORDS = {
    "empty": "",
    "page": "<html>Bad Gateway</html>",
    "null": "null",
    "list": "[]",
    "object": "{}",
    "no errors": '{"errors": []}',
    "null error": '{"errors": [null]}',
    "text for errors": '{"errors": "no"}',
    "odd types": '{"errors": [{"code": 1, "message": ["x"]}]}',
    "cut short": '{"errors": [{"code": "DENIED"',
    "nested": "[" * 4000,
    "control characters": "\x00\x1b[31m",
    "endless": "x" * 1_000_000,
}


class TestRefusals:
    @pytest.mark.parametrize("call", CALLS)
    @pytest.mark.parametrize(
        ("status", "transient"),
        [
            *((status, True) for status in (408, 425, 429, 500, 502, 503, 504, 507)),
            *((status, False) for status in (307, 400, 401, 403, 405, 409, 413, 416)),
        ],
    )
    async def test_a_status_is_transient_or_permanent(
        self, server: Scripted, upstream: Upstream, call: str, status: int, *, transient: bool
    ) -> None:
        """Whatever is called: what is overload or accident may pass, what is about the request itself will not."""
        server.always(status)
        error = await refusal(upstream, call)
        assert error.transient is transient
        assert str(status) in str(error)
        assert error.retry_after is None

    @pytest.mark.parametrize("call", ["upload_blob", "put_manifest"])
    async def test_missing_is_a_refusal_where_something_was_sent(
        self, server: Scripted, upstream: Upstream, call: str
    ) -> None:
        """A 404 answers a question, but refuses an upload."""
        server.always(404, body='{"errors": [{"code": "NAME_UNKNOWN", "message": "no such repository"}]}')
        error = await refusal(upstream, call)
        assert not error.transient
        assert "404 NAME_UNKNOWN: no such repository" in str(error)

    @pytest.mark.parametrize("code", ["BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"])
    @pytest.mark.parametrize("status", [400, 404, 416])
    async def test_a_lost_session_is_transient(
        self, server: Scripted, upstream: Upstream, code: str, status: int
    ) -> None:
        """The upstream forgot the upload: the next attempt begins a new one."""
        server.always(status, body=f'{{"errors": [{{"code": "{code}"}}]}}')
        assert (await refusal(upstream, "upload_blob")).transient

    @pytest.mark.parametrize(
        ("header", "seconds"),
        [("7", 7.0), ("0", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None), ("soon", None), ("", None)],
    )
    @pytest.mark.parametrize("status", [429, 503])
    async def test_retry_after(
        self, server: Scripted, upstream: Upstream, status: int, header: str, seconds: float | None
    ) -> None:
        """Seconds are handed on; a date or nonsense is left to our own back-off."""
        server.always(status, {"Retry-After": header})
        error = await refusal(upstream, "put_manifest")
        assert error.transient
        assert error.retry_after == seconds

    @pytest.mark.parametrize("body", NO_WORDS.values(), ids=NO_WORDS)
    async def test_words_that_are_none(self, server: Scripted, upstream: Upstream, body: str) -> None:
        """No error body can break the reading of it, and none fills the log."""
        server.always(502, body=body)
        error = await refusal(upstream, "put_manifest")
        assert error.transient
        assert len(str(error)) <= 500

    async def test_an_answer_before_the_end_of_the_body(self, server: Scripted, upstream: Upstream) -> None:
        """A refusal that comes while we are still sending is the answer, not a lost connection."""

        async def refuse_early(request: web.Request) -> web.StreamResponse:
            return await accept(request) if request.method == "POST" else web.Response(status=413, text="too large")

        server.answer, server.reads = refuse_early, False
        blob = Descriptor(digest=BLOB.digest, size=BIG)
        with pytest.raises(UpstreamError, match="413 too large") as raised:
            await send_blob(upstream, REPOSITORY, blob, pieces(*[bytes(1 << 20)] * 32))
        assert not raised.value.transient


class TestLocation:
    @pytest.mark.parametrize("location", ["/up/1", "{url}up/1", "//{authority}/up/1", "../../../../../up/1"])
    async def test_of_the_upstream_itself(self, server: Scripted, upstream: Upstream, location: str) -> None:
        """Relative or absolute, the blob goes there with the query's own state, its digest and the credentials."""
        where = location.format(url=server.url, authority=server.url.authority)

        async def answer(request: web.Request) -> web.StreamResponse:
            return await accept(request) if request.method != "POST" else redirect(202, f"{where}?{STATE}")

        server.answer = answer
        await send_blob(upstream, REPOSITORY, BLOB, pieces(DATA[:7], DATA[7:]))
        (_, _, asked_by, _), (method, url, sent_by, body) = server.seen
        assert (method, url.path, body) == ("PUT", "/up/1", DATA)
        assert dict(url.query) == {"_state": "sEcReT+/=", "digest": BLOB.digest}
        assert sent_by == asked_by == "Basic YnVpbGRlcjpodW50ZXIy"

    async def test_of_another_host(self, server: Scripted, stranger: Scripted, upstream: Upstream) -> None:
        """The blob goes there, the credentials do not."""
        server.always(202, {"Location": f"{stranger.url}up/1?{STATE}"})
        await send_blob(upstream, REPOSITORY, BLOB, pieces(DATA))
        ((method, url, credentials, body),) = stranger.seen
        assert (method, url.path, credentials, body) == ("PUT", "/up/1", None, DATA)

    async def test_another_host_that_refuses(self, server: Scripted, stranger: Scripted, upstream: Upstream) -> None:
        """Its refusal names it, without the signed state of the URL."""
        server.always(202, {"Location": f"{stranger.url}up/1?{STATE}"})
        stranger.always(403)
        assert f"{stranger.url}up/1: 403" in str(await refusal(upstream, "upload_blob"))

    @pytest.mark.parametrize(
        ("base", "location", "meant"),
        [
            ("https://r.example.com", "http://r.example.com/up/1?a=%2B", "https://r.example.com/up/1?a=%2B"),
            ("https://r.example.com:5443", "http://r.example.com/up/1", "https://r.example.com:5443/up/1"),
            ("https://r.example.com:5443", "http://r.example.com:5443/up/1", "https://r.example.com:5443/up/1"),
            ("https://r.example.com", "http://r.example.com:443/up/1", "https://r.example.com/up/1"),
            ("https://r.example.com", "http://r.example.com:8080/up/1", "http://r.example.com:8080/up/1"),
            ("https://r.example.com", "http://s.example.com/up/1", "http://s.example.com/up/1"),
            ("http://r.example.com", "http://r.example.com/up/1", "http://r.example.com/up/1"),
            ("http://r.example.com", "https://r.example.com/up/1", "https://r.example.com/up/1"),
        ],
    )
    def test_in_the_clear(self, base: str, location: str, meant: str) -> None:
        """A proxy that ends TLS may let an https upstream answer http for itself: nothing goes in the clear."""
        transport = transport_to(base, credentials=CREDENTIALS, tls=None)
        assert str(transport.location(location)) == meant

    @pytest.mark.parametrize(
        "location",
        [None, "", "http://[", "http://host:port/", "mailto:me@example.com", f"ftp://x/?{STATE}", f"file:///x?{STATE}"],
    )
    async def test_none_or_nonsense(self, server: Scripted, upstream: Upstream, location: str | None) -> None:
        """An upload without a place to go to is the upstream's fault, for a person to see."""
        server.always(202, {} if location is None else {"Location": location})
        error = await refusal(upstream, "upload_blob")
        assert not error.transient
        assert "Location" in str(error)


def redirect(status: int, location: str) -> web.Response:
    """An answer that sends the client somewhere."""
    return web.Response(status=status, headers={"Location": location})


class TestRedirects:
    @pytest.mark.parametrize("status", [302, 307])
    async def test_reading_follows_to_another_host(
        self, server: Scripted, stranger: Scripted, upstream: Upstream, status: int
    ) -> None:
        """Object storage may serve what the upstream holds, but gets no credentials."""

        async def serve(_: web.Request) -> web.StreamResponse:
            return web.Response(body=DATA)

        server.always(status, {"Location": f"{stranger.url}data?{STATE}"})
        stranger.answer = serve
        assert await upstream.has_blob(REPOSITORY, BLOB)
        assert await upstream.get_manifest(REPOSITORY, "v1", OCI_MANIFEST) == DATA
        assert [(method, url.path, sent_by) for method, url, sent_by, _ in stranger.seen] == [
            ("HEAD", "/data", None),
            ("GET", "/data", None),
        ]

    async def test_a_strangers_challenge_is_not_heeded(
        self, server: Scripted, stranger: Scripted, upstream: Upstream
    ) -> None:
        """Whoever the upstream redirects to cannot have our credentials by asking for a token."""
        server.always(307, {"Location": f"{stranger.url}data"})
        stranger.always(401, {"WWW-Authenticate": f'Bearer realm="{stranger.url}token"'})
        for _ in range(2):
            assert not (await refusal(upstream, "has_blob")).transient
        assert {(url.path, sent_by) for _, url, sent_by, _ in stranger.seen} == {("/data", None)}

    @pytest.mark.parametrize("call", ["has_blob", "get_manifest"])
    async def test_in_a_circle(self, server: Scripted, upstream: Upstream, call: str) -> None:
        """It ends after a few."""
        server.always(307, {"Location": f"/again?{STATE}"})
        await refusal(upstream, call)
        assert len(server.seen) < 10

    @pytest.mark.parametrize("location", ["http://[", f"ftp://x/?{STATE}", f"mailto:x?{STATE}"])
    async def test_to_nowhere(self, server: Scripted, upstream: Upstream, location: str) -> None:
        """A redirect that cannot be followed is an error as any other."""
        server.always(307, {"Location": location})
        await refusal(upstream, "has_blob")

    async def test_an_upload_is_not_redirected(self, server: Scripted, stranger: Scripted, upstream: Upstream) -> None:
        """What is sent goes where it was sent to, or nowhere."""
        server.always(307, {"Location": str(stranger.url)})
        for call in ("upload_blob", "put_manifest"):
            assert not (await refusal(upstream, call)).transient
        assert stranger.seen == []


class TestConnection:
    @pytest.mark.parametrize("call", CALLS)
    async def test_nobody_listens(self, call: str) -> None:
        """Transient, with the address that was tried."""
        port = free_port()
        async with connected(URL(f"http://127.0.0.1:{port}")) as upstream:
            error = await refusal(upstream, call)
        assert error.transient
        assert str(port) in str(error)

    @pytest.mark.parametrize("call", CALLS)
    async def test_a_reset_instead_of_an_answer(self, server: Scripted, upstream: Upstream, call: str) -> None:
        """The connection breaks before a status came."""
        server.answer = _reset
        assert (await refusal(upstream, call)).transient

    async def test_a_reset_while_a_blob_is_sent(self, server: Scripted, upstream: Upstream) -> None:
        """The connection breaks in the middle of our body, which is let go of."""

        async def answer(request: web.Request) -> web.StreamResponse:
            if request.method == "POST":
                return await accept(request)
            await request.content.readexactly(100_000)
            return await _reset(request)

        server.answer, server.reads = answer, False
        body = Body(*[bytes(1 << 20)] * 32)
        assert (await upload_big(upstream, body)).transient
        gc.collect()
        await body.closed.wait()

    async def test_a_reset_while_a_manifest_is_read(self, server: Scripted, upstream: Upstream) -> None:
        """Half a manifest is none."""

        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b"{")
            return await _reset(request)

        server.answer = answer
        assert (await refusal(upstream, "get_manifest")).transient

    @pytest.mark.parametrize("call", CALLS)
    @pytest.mark.parametrize("words", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"])
    async def test_what_speaks_no_http(self, words: bytes, call: str) -> None:
        """Whatever listens there, the answer is an error that says where."""

        async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(words)
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(speak, "127.0.0.1") as listener:
            port = listener.sockets[0].getsockname()[1]
            async with connected(URL(f"http://127.0.0.1:{port}")) as upstream:
                assert f"127.0.0.1:{port}" in str(await refusal(upstream, call))

    async def test_nonsense_after_a_signed_location(self, server: Scripted, upstream: Upstream) -> None:
        """The text of an HTTP error holds the whole URL; ours does not."""

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"nonsense\r\n\r\n")
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(speak, "127.0.0.1") as listener:
            port = listener.sockets[0].getsockname()[1]
            server.always(202, {"Location": f"http://127.0.0.1:{port}/up/1?{STATE}"})
            assert (await refusal(upstream, "upload_blob")).transient

    async def test_it_was_never_opened(self) -> None:
        """A transport outside its `async with` refuses, transiently."""
        transport = transport_to("http://127.0.0.1", credentials=CREDENTIALS, tls=None)
        assert (await refusal(RegistryClient(transport), "has_blob")).transient


async def upload_big(upstream: Upstream, body: "Body") -> UpstreamError:
    """The error that sending 32 MiB ends with, without the frames that it came through."""
    try:
        await send_blob(upstream, REPOSITORY, Descriptor(digest=BLOB.digest, size=BIG), body.read())
    except UpstreamError as error:
        return UpstreamError(str(error), transient=error.transient)
    raise AssertionError("it was taken")


async def _reset(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


class Body:
    """A body that knows whether it was let go of, and may fail at its end."""

    def __init__(self, *data: bytes, error: Exception | None = None) -> None:
        self.closed = asyncio.Event()
        self._data = data
        self._error = error

    async def read(self) -> AsyncIterator[bytes]:
        """The pieces, then the failure."""
        try:
            for piece in self._data:
                yield piece
            if self._error:
                raise self._error
        finally:
            self.closed.set()


class TestBody:
    @pytest.mark.parametrize("sent", [(), (b"half",), (bytes(1 << 20),) * 4], ids=["at once", "soon", "in between"])
    @pytest.mark.parametrize("error", [ContentMissingError("gone"), RuntimeError("a bug"), OSError(5, "disk")])
    async def test_a_failure_to_read_it_is_raised_as_it_is(
        self, upstream: Upstream, sent: tuple[bytes, ...], error: Exception
    ) -> None:
        """The very error of our own side, whatever the HTTP client makes of it."""
        body = Body(*sent, error=error)
        with pytest.raises(type(error)) as raised:
            await send_blob(upstream, REPOSITORY, Descriptor(digest=BLOB.digest, size=BIG), body.read())
        assert raised.value is error

    @pytest.mark.parametrize("reads", [True, False], ids=["after the body", "before the body"])
    async def test_a_stall_is_transient(self, server: Scripted, upstream: Upstream, *, reads: bool) -> None:
        """No answer, or nothing taken: it is given up after a while without progress, and the body let go of."""
        time = Leaps()

        async def stall(request: web.Request) -> web.StreamResponse:
            for _ in range(50 if request.method == "PUT" else 0):
                await time.leap(PATIENT)
            return await accept(request)

        server.answer, server.reads = stall, reads
        body = Body(*[bytes(1 << 20)] * 32)
        assert (await upload_big(upstream, body)).transient
        gc.collect()
        await body.closed.wait()

    @pytest.mark.parametrize("call", CALLS)
    async def test_an_upstream_that_says_nothing(self, server: Scripted, call: str) -> None:
        """Every call gives up."""
        over = asyncio.Event()

        async def stall(request: web.Request) -> web.StreamResponse:
            await over.wait()
            return await accept(request)

        server.answer = stall
        async with connected(server.url, stall=IMPATIENT) as upstream:
            error = await refusal(upstream, call)
        over.set()
        assert error.transient

    async def test_a_body_that_ends_early(self, server: Scripted, upstream: Upstream) -> None:
        """Fewer bytes than announced are never taken for a blob."""
        transfer = await upstream.begin_upload(REPOSITORY, BLOB.digest)
        assert transfer
        async with connected(server.url, stall=IMPATIENT) as impatient:
            with pytest.raises(UpstreamError):
                await impatient.upload_blob(REPOSITORY, BLOB, transfer, pieces(DATA[:-1]))
        assert [method for method, *_ in server.seen] == ["POST"]


class TestReading:
    async def test_a_manifest_is_taken_as_it_is(self, server: Scripted, upstream: Upstream) -> None:
        """An upstream that claims an encoding changes no byte."""

        async def answer(_: web.Request) -> web.StreamResponse:
            return web.Response(body=b"\x1f\x8b not really", headers={"Content-Encoding": "gzip"})

        server.answer = answer
        assert await upstream.get_manifest(REPOSITORY, "v1", OCI_MANIFEST) == b"\x1f\x8b not really"

    async def test_what_is_too_long_for_a_manifest(self, server: Scripted, upstream: Upstream) -> None:
        """It is cut, so that no upstream can fill our memory, and so equals nothing that we sent."""
        server.always(200, body="x" * BIG)
        raw = await upstream.get_manifest(REPOSITORY, "v1", OCI_MANIFEST)
        assert raw is not None
        assert MAX_MANIFEST < len(raw) < BIG

    async def test_a_blob_of_unknown_size(self, server: Scripted, upstream: Upstream) -> None:
        """A HEAD without Content-Length says that it is there, which is all that can be known."""

        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            response.enable_chunked_encoding()
            await response.prepare(request)
            return response

        server.answer = answer
        assert await upstream.has_blob(REPOSITORY, BLOB)


def test_credentials_do_not_show_themselves() -> None:
    """Neither alone nor inside of something that is printed."""
    assert "hunter2" not in f"{CREDENTIALS!r} {CREDENTIALS} {[CREDENTIALS]}"
