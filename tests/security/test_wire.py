"""What no client would send: requests that two readers understand in two ways, and paths that lead elsewhere."""

import gzip
import json
import socket
from urllib.parse import quote

import pytest

from tests.rig.daemon import Daemon
from tests.rig.images import MEDIA
from tests.rig.until import until
from tests.rig.wire import Answer, Wire, digest_of, finishing
from tests.security.conftest import wire_of
from tests.security.people import ALICE, PEOPLE

_PATIENCE = 10.0
SMUGGLED = "/v2/acme/smuggled/tags/list"
INNER = "\r\n".join(
    [f"GET {SMUGGLED} HTTP/1.1", "Host: x", f"Authorization: {ALICE.header}", "Connection: close", "", ""]
).encode()


@pytest.fixture
def alice(daemon: Daemon) -> Wire:
    """Requests of somebody who may."""
    return wire_of(daemon, PEOPLE["alice"])


def said(daemon: Daemon, *pieces: bytes) -> bytes:
    """All that is answered to some bytes, until the connection ends."""
    host, _, port = daemon.host.partition(":")
    with socket.create_connection((host, int(port)), timeout=_PATIENCE) as connection:
        for piece in pieces:
            connection.sendall(piece)
        answer = bytearray()
        while data := connection.recv(65536):
            answer += data
    return bytes(answer)


def head(line: str, *headers: str) -> bytes:
    """The head of a request of somebody who may, and says no more on this connection unless he smuggles it in."""
    lines = [line, "Host: registry", f"Authorization: {ALICE.header}", *(headers or ["Connection: close"])]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


POST = "POST /v2/acme/app/blobs/uploads/ HTTP/1.1"
LENGTH = f"Content-Length: {len(INNER)}"
AMBIGUOUS = {
    "a length and chunks": head(POST, LENGTH, "Transfer-Encoding: chunked") + b"0\r\n\r\n" + INNER,
    "chunks and a length": head(POST, "Transfer-Encoding: chunked", LENGTH) + b"0\r\n\r\n" + INNER,
    "two lengths": head(POST, "Content-Length: 0", LENGTH) + INNER,
    "two lengths in one": head(POST, f"Content-Length: 0, {len(INNER)}") + INNER,
    "a length with a sign": head(POST, "Content-Length: +0") + INNER,
    "a length below zero": head(POST, "Content-Length: -1") + INNER,
    "a length in other digits": head(POST, "Content-Length: \xb2") + INNER,
    "no kind of encoding": head(POST, "Transfer-Encoding: xchunked") + b"0\r\n\r\n" + INNER,
    "an encoding after chunks": head(POST, "Transfer-Encoding: chunked, identity") + b"0\r\n\r\n" + INNER,
    "a blank before the colon": head(POST, f"Content-Length : {len(INNER)}") + INNER,
    "a line that goes on": head(POST, "X: y", f" Content-Length: {len(INNER)}") + INNER,
    "a line end inside": head(POST, f"X: y\rContent-Length: {len(INNER)}") + INNER,
    "a zero inside": head(POST, "X: y\0z") + INNER,
    "a chunk of no length": head(POST, "Transfer-Encoding: chunked") + b"-1\r\n\r\n" + INNER,
    "a chunk that is longer than it says": head(POST, "Transfer-Encoding: chunked") + b"1\r\nabc\r\n0\r\n\r\n" + INNER,
}


@pytest.mark.parametrize("kind", AMBIGUOUS)
def test_requests_within_requests(daemon: Daemon, kind: str) -> None:
    """What might be a body or another request is neither: it is refused, and the connection ends."""
    before = _smuggled(daemon)
    answer = said(daemon, AMBIGUOUS[kind])
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert answer.count(b"HTTP/1.") == 1
    assert _is_alive(daemon)
    assert _smuggled(daemon) == before


def _smuggled(daemon: Daemon) -> int:
    return sum(line.get("path") == SMUGGLED for line in daemon.log_lines())


def _is_alive(daemon: Daemon) -> bool:
    return wire_of(daemon, PEOPLE["alice"]).ask("GET", "/v2/").status == 200


def test_a_request_after_another_is_one(daemon: Daemon) -> None:
    """The test above can tell: on a connection that goes on, a second request is answered."""
    before = _smuggled(daemon)
    answer = said(daemon, head("GET /v2/ HTTP/1.1", "Accept: */*") + INNER)
    assert answer.count(b"HTTP/1.1 ") == 2
    until(lambda: _smuggled(daemon) == before + 1, "it is in the log")


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /v2/acme/../../../etc/passwd HTTP/1.1",
        "GET /v2/acme/%2e%2e/globex/app/tags/list HTTP/1.1",
        "GET /v2/acme/%2e%2e%2fglobex/app/tags/list HTTP/1.1",
        "GET /v2/acme/..%2fglobex/app/tags/list HTTP/1.1",
        "GET /v2/acme/%252e%252e/globex/app/tags/list HTTP/1.1",
        "GET /v2//globex/app/tags/list HTTP/1.1",
        "GET /v2/acme/app%00/tags/list HTTP/1.1",
        "GET /v2/acme/app%0d%0aX:%20y/tags/list HTTP/1.1",
        "GET /v2/acme/app/blobs/../../globex/app/tags/list HTTP/1.1",
        "GET /v2/acme/app/manifests/..%2f..%2fglobex%2fapp%2fmanifests%2fv1 HTTP/1.1",
        "GET /v2/acme/app/blobs/sha256:..%2f..%2fetc%2fpasswd HTTP/1.1",
        "GET /v2/ACME/app/tags/list HTTP/1.1",
        "GET /v2/acme/%EF%BD%81pp/tags/list HTTP/1.1",
        "GET http://other.example.com/v2/globex/app/tags/list HTTP/1.1",
        "GET \\v2\\acme HTTP/1.1",
        "GET  HTTP/1.1",
        "CONNECT registry.example.com:443 HTTP/1.1",
        "TRACE /v2/ HTTP/1.1",
        "PRI * HTTP/2.0",
        "GET /v2/ HTTP/9.9",
    ],
)
def test_paths_that_lead_elsewhere(daemon: Daemon, owned: object, request_line: str) -> None:
    """A name is a name: what is none is refused, and never a way to what is somebody else's."""
    assert owned
    answer = said(daemon, head(request_line))
    status = answer.partition(b" ")[2][:3]
    assert status in {b"400", b"403", b"404", b"405"}
    assert b"passwd" not in answer or b"is not a" in answer or b"no such" in answer
    assert b"\r\nX: y" not in answer


@pytest.mark.parametrize("where", ["?ns={}", "?from={}&mount=" + digest_of(b""), "?digest={}", "?digest-algorithm={}"])
def test_lines_in_values(daemon: Daemon, where: str) -> None:
    """What is in a query comes into no header of the answer, and makes no line of the log."""
    query = where.format(quote("x\r\nInjected: y"))
    answer = said(daemon, head(f"POST /v2/acme/app/blobs/uploads/{query} HTTP/1.1"))
    assert answer.startswith(b"HTTP/1.1 ")
    assert b"\r\nInjected" not in answer
    assert not daemon.complaints()


@pytest.mark.parametrize("host", ["registry.example.com", "REGISTRY.example.com", "evil.example.com", "x y", "", '"'])
def test_the_host_that_a_client_names(daemon: Daemon, host: str) -> None:
    """Whatever it is, rules are asked about the registry that is meant in the end."""
    request = head("GET /v2/globex/app/tags/list HTTP/1.1").replace(b"Host: registry", f"Host: {host}".encode())
    assert said(daemon, request).partition(b" ")[2][:3] in {b"403", b"400"}


@pytest.mark.parametrize("namespace", ["other.example.com", "", "registry.example.com:443", "../x", "*"])
def test_a_registry_that_is_not_configured(alice: Wire, namespace: str) -> None:
    """It does not exist, for nobody, and is never asked."""
    answer = alice.ask("GET", f"/v2/acme/app/tags/list?ns={quote(namespace)}")
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")


def _bomb() -> bytes:
    return gzip.compress(bytes(64 * 1024 * 1024))


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_what_is_compressed_stays_so(alice: Wire, daemon: Daemon, encoding: str) -> None:
    """Nothing is ever expanded on its way in: a blob is the bytes that came, and a manifest that is not JSON none."""
    before, bomb = daemon.peak_memory(), _bomb()
    headers = {"Content-Encoding": encoding, "Content-Type": MEDIA["oci"].manifest}
    assert alice.ask("PUT", "/v2/acme/app/manifests/bomb", bomb, headers).code == "MANIFEST_INVALID"
    location = finishing(alice.begin("acme/app"), digest_of(bomb))
    assert alice.ask("PUT", location, bomb, headers).status == 201
    assert alice.ask("HEAD", f"/v2/acme/app/blobs/{digest_of(bomb)}").headers["Content-Length"] == str(len(bomb))
    assert daemon.peak_memory() - before < 32 * 1024 * 1024


DEEP = {
    "arrays": b"[" * 2_000_000,
    "objects": b'{"a":' * 500_000,
    "an object that ends": b'{"layers":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a number": b'{"schemaVersion":' + b"9" * 1_000_000 + b"}",
    "a text": json.dumps({"mediaType": "x" * 4_000_000}).encode(),
    "names": json.dumps({f"name-{number}": number for number in range(200_000)}).encode(),
    "twice": b'{"schemaVersion":2,"schemaVersion":2}',
    "no text": b"\xff\xfe{}",
    "too much": b" " * (5 * 1024 * 1024),
}


@pytest.mark.parametrize("kind", DEEP)
def test_manifests_that_are_too_much(alice: Wire, daemon: Daemon, kind: str) -> None:
    """Deep, long, wide or twice: refused, and the next request is answered."""
    answer = alice.push_manifest("acme/app", "deep", DEEP[kind])
    assert answer.status in {400, 404, 413}
    assert _is_alive(daemon)


@pytest.mark.parametrize("change", ["{}0", "{}%20", "{}/..", "{}/../../uploads/", "globex", "{}?digest=&digest="])
def test_a_location_that_was_changed(alice: Wire, change: str) -> None:
    """An upload has one address; below another repository, or by another name, it is not there."""
    location = alice.begin("acme/app")
    changed = location.replace("acme/app", "acme/web") if change == "globex" else change.format(location)
    answer: Answer = alice.ask("PUT", changed, b"")
    assert answer.status in {400, 404}
    assert alice.ask("GET", location).status == 204
    assert alice.ask("DELETE", location).status == 204


def test_headers_of_proxies_are_not_believed(daemon: Daemon) -> None:
    """Whoever says that he comes from a network of a tenant comes from where he does."""
    claims = {
        "X-Forwarded-For": "127.0.1.1",
        "Forwarded": "for=127.0.1.1",
        "X-Real-IP": "127.0.1.1",
        "X-Forwarded-User": "alice",
        "X-SSL-Client-S-DN": "O=acme",
    }
    assert Wire(daemon.url).ask("GET", "/v2/acme/app/tags/list", headers=claims).status == 401
