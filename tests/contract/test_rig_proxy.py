"""The faults of the rig's proxy, each seen with a raw client and done to a real registry."""

import json
import random
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from urllib.parse import urlsplit

import pytest

from tests.rig.faults import Cut, CutAnswer, Delay, Fault, Reply, Rewrite, Stall, StallAnswer
from tests.rig.gate import Gate
from tests.rig.proxy import Proxy
from tests.rig.registry import Registry
from tests.rig.resumable import UPLOAD, Resumable
from tests.rig.until import until
from tests.rig.wire import Wire, digest_of, finishing

DATA = random.Random(11).randbytes(1_000_000)  # noqa: S311 - the same in each run
DIGEST = digest_of(DATA)
UPLOADS = "/v2/app/blobs/uploads/"
BLOB = f"/v2/app/blobs/{DIGEST}"
IMPATIENT = 3.0


@pytest.fixture
def proxy(registry: Registry) -> Iterator[Proxy]:
    with Proxy(registry.host) as proxy:
        yield proxy


@pytest.fixture
def wire(proxy: Proxy) -> Wire:
    return Wire(proxy.url)


def put(wire: Wire) -> int:
    """Begin an upload and send the whole blob in one PUT; returns the status."""
    return wire.ask("PUT", finishing(target(wire.begin("app")), DIGEST), DATA).status


def target(location: str) -> str:
    """A Location without its host."""
    url = urlsplit(location)
    return f"{url.path}?{url.query}"


def test_without_a_fault(proxy: Proxy, registry: Registry, wire: Wire) -> None:
    """Everything is passed on, byte for byte, and the upstream's Locations lead through the proxy."""
    location = wire.begin("app")
    assert location.startswith(proxy.url)
    assert wire.ask("PUT", finishing(target(location), DIGEST), DATA).status == 201
    assert wire.ask("GET", BLOB).body == DATA == registry.blob("app", DIGEST)
    assert wire.ask("HEAD", BLOB).headers["Content-Length"] == str(len(DATA))
    assert wire.ask("HEAD", BLOB.replace("0", "1")).status == 404


def test_what_it_notes(proxy: Proxy, wire: Wire) -> None:
    """Method, path, bytes of the body, status, and whether there were credentials, but not which."""
    put(wire)
    wire.ask("GET", BLOB, headers={"Authorization": "Basic c2VjcmV0"})
    post, sent, got = proxy.requests
    assert (post.method, post.path, post.status) == ("POST", UPLOADS, 202)
    assert (sent.method, sent.taken, sent.size, sent.status) == ("PUT", len(DATA), len(DATA), 201)
    assert (got.path, got.is_authorized, sent.is_authorized) == (BLOB, True, False)
    assert proxy.seen("P.*", UPLOADS) == [post, sent]
    assert "c2VjcmV0" not in repr(proxy.requests)


@pytest.mark.parametrize("after", [0, 1, 300_001])
def test_cut_in_the_request(proxy: Proxy, registry: Registry, wire: Wire, after: int) -> None:
    """A reset for the client, and the upstream has just those bytes when it comes."""
    location = target(wire.begin("app"))
    proxy.arm(Cut(after), "PATCH")
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        wire.ask("PATCH", location, DATA)
    assert [(request.taken, request.status) for request in proxy.seen("PATCH")] == [(after, None)]
    (partial,) = registry.directory.glob("data/**/_uploads/*/data")
    assert partial.read_bytes() == DATA[:after]


def test_docker_registry_forgets_a_broken_upload(proxy: Proxy, wire: Wire) -> None:
    """Why there is `Resumable`: the only Location that the client has does not lead to it any more."""
    location = target(wire.begin("app"))
    proxy.arm(Cut(1000), "PATCH")
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        wire.ask("PATCH", location, DATA)
    assert wire.ask("GET", location).status == 404


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("after", [0, 1, 300_001])
def test_an_upload_that_can_be_resumed(registry: Registry, method: str, after: int) -> None:
    """What a broken request brought counts, at whatever Location of the upload one asks, and the rest can follow."""
    with Proxy(registry.host) as keeping, Proxy(keeping.host) as proxy:
        keeping.arm(Resumable(Wire(registry.url)), path=UPLOAD, times=None)
        proxy.arm(Cut(after), method)
        wire = Wire(proxy.url)
        location = finishing(target(wire.begin("app")), DIGEST)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            wire.ask(method, location, DATA)
        state = wire.ask("GET", location)
        assert state.headers["Range"] == f"0-{max(after - 1, 0)}"
        rest = finishing(target(state.headers["Location"]), DIGEST)
        assert wire.ask("PUT", rest, DATA[after:]).status == 201
        assert [request.taken for request in proxy.seen("PATCH|PUT")] == [after, len(DATA) - after]
        assert registry.blob("app", DIGEST) == DATA


def test_cut_in_the_answer(proxy: Proxy, wire: Wire) -> None:
    """The client gets a part of the answer and a reset."""
    put(wire)
    proxy.arm(CutAnswer(100_000), "GET")
    with pytest.raises((ConnectionResetError, IncompleteRead)):
        wire.ask("GET", BLOB)


def test_an_answer_that_never_comes(proxy: Proxy, registry: Registry, wire: Wire) -> None:
    """The upstream did the work, and the client hears nothing of it."""
    proxy.arm(CutAnswer(), "PUT")
    with pytest.raises((ConnectionResetError, RemoteDisconnected)):
        put(wire)
    assert registry.blob("app", DIGEST) == DATA


@pytest.mark.parametrize(
    ("fault", "taken"), [(Stall(1000), 1000), (StallAnswer(), len(DATA)), (StallAnswer(10), len(DATA))]
)
def test_a_stall(proxy: Proxy, wire: Wire, fault: Fault, taken: int) -> None:
    """Nothing comes until the client gives up; then the proxy lets go too, and the next request is served."""
    location = finishing(target(wire.begin("app")), DIGEST)
    proxy.arm(fault, "PUT")
    with pytest.raises(TimeoutError):
        Wire(proxy.url, patience=IMPATIENT).ask("PUT", location, DATA)
    assert proxy.seen("PUT")[0].taken == taken
    assert put(wire) == 201


def test_a_delay(proxy: Proxy, wire: Wire) -> None:
    """The request is served, but not before its time."""
    proxy.arm(Delay(0.2), "GET")
    start = time.monotonic()
    assert wire.ask("GET", "/v2/").status == 200
    assert time.monotonic() - start >= 0.2


@pytest.mark.parametrize("after", [0, 1000, None])
def test_an_answer_without_the_upstream(proxy: Proxy, registry: Registry, wire: Wire, after: int | None) -> None:
    """Before, in or after the body, with headers and words; the upstream never hears of the request."""
    proxy.arm(Reply(429, {"Retry-After": "7"}, b"slowly", after=after), "PUT")
    answer = wire.ask("PUT", finishing(target(wire.begin("app")), DIGEST), DATA)
    assert (answer.status, answer.headers["Retry-After"], answer.body) == (429, "7", b"slowly")
    assert proxy.seen("PUT")[0].taken == (len(DATA) if after is None else after)
    assert registry.blob("app", DIGEST) is None


@pytest.mark.parametrize(("after", "there"), [(None, DATA), (1000, None)])
def test_an_answer_in_spite_of_the_upstream(
    proxy: Proxy, registry: Registry, wire: Wire, after: int | None, there: bytes | None
) -> None:
    """The upstream has got what was forwarded, whatever the client is told."""
    proxy.arm(Reply(500, after=after, forward=True), "PUT")
    assert put(wire) == 500
    assert registry.blob("app", DIGEST) == there


def test_a_lie(proxy: Proxy, registry: Registry, wire: Wire) -> None:
    """The client believes that the blob is there, and it is not."""
    proxy.arm(Reply(201), "PUT")
    assert put(wire) == 201
    assert registry.blob("app", DIGEST) is None


def test_a_location_of_another_host(proxy: Proxy, registry: Registry, wire: Wire) -> None:
    """It leads to another proxy, which notes what comes there."""
    with Proxy(registry.host) as other:
        proxy.arm(Rewrite("Location", lambda value: value.replace(proxy.url, other.url)), "POST")
        location = wire.begin("app")
        assert location.startswith(other.url)
        assert Wire(other.url).ask("PUT", finishing(target(location), DIGEST), DATA).status == 201
        assert [request.method for request in other.requests] == ["PUT"]


def test_a_dropped_header(proxy: Proxy, wire: Wire) -> None:
    """An upload whose offset the upstream does not tell."""
    location = target(wire.begin("app"))
    proxy.arm(Rewrite("Range", lambda _: None), "GET")
    assert "Range" not in wire.ask("GET", location).headers
    assert wire.ask("GET", location).headers["Range"] == "0-0"


def test_which_requests_are_broken(proxy: Proxy, wire: Wire) -> None:
    """Those that match, but for the first, as often as asked; what is disarmed never happens again."""

    def statuses() -> list[int]:
        return [wire.ask(method, "/v2/").status for method in ("GET", "HEAD", "GET", "GET", "GET")]

    proxy.arm(Reply(503), "GET", "^/v2/$", skip=1, times=2)
    assert statuses() == [200, 200, 503, 503, 200]
    proxy.arm(Reply(502), times=None)
    assert statuses() == [502] * 5
    proxy.disarm()
    assert statuses() == [200] * 5


def test_an_upstream_that_is_down(proxy: Proxy, registry: Registry, wire: Wire) -> None:
    """Requests are noted and reset; when it is back, they are served."""
    registry.kill()
    with pytest.raises((OSError, HTTPException)):
        wire.ask("GET", "/v2/")
    registry.start()
    assert wire.ask("GET", "/v2/").status == 200
    assert [request.status for request in proxy.requests] == [None, 200]


def test_all_connections_cut(proxy: Proxy, wire: Wire) -> None:
    """What is under way ends, on a proxy that goes on to serve."""
    head = f"PATCH {target(wire.begin('app'))} HTTP/1.1\r\nHost: {proxy.host}\r\nContent-Length: {len(DATA)}\r\n\r\n"
    host, port = proxy.host.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode() + DATA[:1000])
        until(lambda: [request.taken for request in proxy.seen("PATCH")] == [1000], "the first bytes are through")
        proxy.cut_all()
        with suppress(ConnectionResetError):
            assert connection.recv(100) == b""
    assert wire.ask("GET", "/v2/").status == 200


def test_tokens_that_end(proxy: Proxy, registry: Registry, wire: Wire) -> None:
    """The first is good for as many requests as it is told, the next until it is forgotten; nothing else is good."""
    gate = Gate(proxy.url, uses=2, after=1000)
    proxy.arm(gate, times=None)

    def statuses(count: int) -> list[int]:
        token = json.loads(wire.ask("GET", "/token").body)["token"]
        return [wire.ask("GET", "/v2/", headers={"Authorization": f"Bearer {token}"}).status for _ in range(count)]

    assert statuses(3) == [200, 200, 401]
    assert statuses(5) == [200] * 5
    gate.expire()
    last = {"Authorization": f"Bearer {gate.issued[-1]}"}
    answer = wire.ask("PUT", finishing(target(Wire(registry.url).begin("app")), DIGEST), DATA, last)
    assert (answer.status, answer.code, proxy.requests[-1].taken) == (401, "UNAUTHORIZED", 1000)
    assert f'realm="{proxy.url}/token"' in answer.headers["WWW-Authenticate"]
    assert [token for token in gate.issued if token in repr((gate, proxy.requests))] == []
