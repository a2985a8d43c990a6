"""Clients that are slow, or too many, or never stop: they are held to their limits, and the others do not notice."""

import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from threading import Event

import pytest
import trustme

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.ports import free_port
from tests.rig.raw import answer, connected, is_over
from tests.rig.until import until
from tests.rig.web import Bearer
from tests.rig.wire import Answer, Wire, digest_of, finishing, manifest
from tests.security.people import BOB, CI, RULES, identity

pytestmark = pytest.mark.slow

Start = Callable[[Mapping[str, Mapping[str, object]]], Daemon]
ELSEWHERE = "127.0.0.9"
REPOSITORY = "team/app"


@pytest.fixture
def start(directory: Path, containerd: Containerd) -> Iterator[Start]:
    """Starts a daemon with some settings; everybody may do everything there, if these do not say otherwise."""
    with ExitStack() as stack:

        def begin(settings: Mapping[str, Mapping[str, object]]) -> Daemon:
            upstreams = {UPSTREAM: "http://127.0.0.1:1"}
            daemon = Daemon(directory / "daemon", containerd.address, upstreams, settings=settings)
            stack.callback(lambda: assert_no_complaints(daemon))
            return stack.enter_context(daemon)

        yield begin


def assert_no_complaints(daemon: Daemon) -> None:
    """Nothing went wrong that should not."""
    assert not daemon.complaints()


def is_served(daemon: Daemon, source: str = ELSEWHERE) -> bool:
    """Whether somebody at an address is served."""
    return Wire(daemon.url, source=source).ask("GET", "/v2/").status == 200


@contextmanager
def many(daemon: Daemon, number: int) -> Iterator[list[socket.socket]]:
    """So many connections from one address."""
    with ExitStack() as stack:
        yield [stack.enter_context(connected(daemon.host)) for _ in range(number)]


SLOW = {"nothing": b"", "half a line": b"GET /v2/ HT", "half a head": b"GET /v2/ HTTP/1.1\r\nHost: x\r\n"}


@pytest.mark.parametrize("begin", SLOW.values(), ids=SLOW)
def test_a_head_that_does_not_come(start: Start, begin: bytes) -> None:
    """Whoever connects and does not say what he wants is hung up on; the log says who that was."""
    daemon = start({"http": {"head": 0.5}})
    with connected(daemon.host) as connection:
        connection.sendall(begin)
        assert is_over(connection)
    assert any(line["event"] == "connection.overdue" and line["source"] == "127.0.0.1" for line in daemon.log_lines())


@pytest.mark.parametrize("before", [b"", b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["first", "second"])
def test_a_head_that_comes_byte_by_byte(start: Start, before: bytes) -> None:
    """That something comes is not enough; also for the second request of a connection, which is else kept for long."""
    daemon = start({"http": {"head": 1.0}})
    with connected(daemon.host) as connection:
        if before:
            connection.sendall(before)
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        connection.settimeout(0.05)
        until(lambda: _drips(connection), "it is hung up on")
        assert is_served(daemon)


def _drips(connection: socket.socket) -> bool:
    """Send a byte more of a header; whether that is of no use any more."""
    try:
        connection.sendall(b"x")
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_a_connection_that_is_not_used_again(start: Start) -> None:
    """It ends, without a word in the log."""
    daemon = start({"http": {"keep": 0.5, "head": 60.0}})
    with connected(daemon.host) as connection:
        connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer(connection).startswith(b"HTTP/1.1 200 ")
    assert not any(line["event"] == "connection.overdue" for line in daemon.log_lines())


def test_one_that_is_used_again(start: Start) -> None:
    """Between two requests it is kept for longer than a head may take."""
    daemon = start({"http": {"head": 0.5}})
    with connected(daemon.host) as connection, connected(daemon.host) as silent:
        for _ in range(2):
            connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
            assert is_over(silent)


def test_a_request_that_takes_too_long(start: Start) -> None:
    """However steadily its body comes; the upload can be gone on with."""
    daemon = start({"http": {"total": 1.0}})
    wire = Wire(daemon.url)
    location = wire.begin(REPOSITORY)
    with connected(daemon.host) as connection:
        connection.sendall(f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n".encode())
        connection.settimeout(0.05)
        until(lambda: _drips(connection), "it is hung up on")
    assert any(line["event"] == "connection.overdue" for line in daemon.log_lines())
    until(lambda: wire.ask("PATCH", location, b"more").status == 202, "the upload is free again")


def test_a_client_that_takes_nothing(start: Start) -> None:
    """An answer that nobody reads is not held for ever."""
    daemon = start({"http": {"idle": 1.0}})
    wire = Wire(daemon.url)
    digest = wire.push_blob(REPOSITORY, bytes(64 << 20))
    with connected(daemon.host, buffer=4096) as connection:
        connection.sendall(f"GET /v2/{REPOSITORY}/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        until(lambda: _was_given_up(daemon), "its answer is given up")
        assert is_served(daemon)


def _was_given_up(daemon: Daemon) -> bool:
    """Whether the answer to somebody who read a blob broke off."""
    lines = [line for line in daemon.log_lines() if line["event"] == "http.request" and line["method"] == "GET"]
    return any("/blobs/sha256" in line["path"] and line["status"] == 499 for line in lines)


def test_more_connections_than_one_address_may_have(start: Start) -> None:
    """One more is told so and hung up on; others are served, and he is, too, when he has ended one."""
    daemon = start({"callers": {"connections": 8}})
    until(lambda: _fills(daemon, 8), "all of them are counted")
    until(lambda: is_served(daemon, "127.0.0.1"), "there is room again")


def _fills(daemon: Daemon, number: int) -> bool:
    """Connect so often, and look whether one more is refused and somebody else is served."""
    with many(daemon, number) as connections, connected(daemon.host) as refused:
        said = answer(refused)
        served = is_served(daemon)
        assert all(_answers(connection) for connection in connections) or not said
    return served and said.startswith(b"HTTP/1.1 429 ") and b"Retry-After: " in said and b"TOOMANYREQUESTS" in said


def _answers(connection: socket.socket) -> bool:
    connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
    return connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


def test_more_connections_than_there_may_be(start: Start) -> None:
    """Also of many addresses there is an end; nothing of it lasts."""
    daemon = start({"http": {"connections": 8}})
    with many(daemon, 8) as connections, connected(daemon.host, ELSEWHERE) as refused:
        assert answer(refused).startswith(b"HTTP/1.1 429 ")
        assert _answers(connections[0])
        until(lambda: "connections.refused" in daemon.log.read_text(), "the log says so")
    until(lambda: _is_let_in(daemon), "there is room again")


def _is_let_in(daemon: Daemon) -> bool:
    try:
        return is_served(daemon)
    except ConnectionError:
        return False


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v2/" + b"x" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nCookie: " + b"x" * 5000 + b"\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: x\r\n" % n for n in range(40)) + b"\r\n",
    ],
    ids=["first line", "header", "headers"],
)
def test_a_head_that_is_too_large(start: Start, head: bytes) -> None:
    """It is refused before it is understood."""
    daemon = start({"http": {"line": 4096, "headers": 32}})
    with connected(daemon.host) as connection:
        connection.sendall(head)
        assert answer(connection).startswith(b"HTTP/1.0 400 ")
    assert is_served(daemon)


DIGITS = "9" * 5000


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", f"/v2/{REPOSITORY}/tags/list?n={DIGITS}", {}, 400),
        ("GET", f"/v2/_catalog?n={DIGITS}", {}, 400),
        ("GET", f"/v2/{REPOSITORY}/blobs/sha256:{DIGITS}", {}, 400),
        ("GET", "/v2/", {"Range": f"bytes={DIGITS}-"}, 200),
        ("PUT", f"/v2/{REPOSITORY}/manifests/v1", {"Prefer": f"wait=upstream, wait={DIGITS}"}, 400),
        ("PATCH", "{upload}", {"Content-Range": f"0-{DIGITS}"}, 400),
        ("PATCH", "{upload}", {"Content-Length": DIGITS}, 400),
        ("PATCH", "{upload}", {"Transfer-Encoding": "chunked", "Content-Range": f"{DIGITS}-{DIGITS}"}, 400),
    ],
)
def test_numbers_of_thousands_of_digits(
    start: Start, method: str, path: str, headers: Mapping[str, str], status: int
) -> None:
    """Python's `int` refuses them with an error; here they are what any other nonsense is."""
    daemon = start({"http": {"catalog": True}})
    wire = Wire(daemon.url)
    answer = wire.ask(method, path.format(upload=wire.begin(REPOSITORY)), None, headers)
    assert answer.status == status


def test_a_flood_of_requests(start: Start, directory: Path) -> None:
    """Who asks too much is refused, on however many connections; all that another one asks meanwhile is answered."""
    daemon = start({"callers": {"requests": 5.0, "burst": 10}, **_known(directory)})
    flooding = [Wire(daemon.url, authorization=CI.header) for _ in range(8)]
    done = Event()
    with ThreadPoolExecutor(len(flooding)) as pool:
        answers = [pool.submit(_flood, wire, done) for wire in flooding]
        bob = Wire(daemon.url, authorization=BOB.header)
        until(lambda: _is_refused(daemon), "the flood is noticed")
        assert [bob.ask("GET", "/v2/").status for _ in range(10)] == [200] * 10
        done.set()
        seen = Counter(status for each in answers for status in each.result())
    assert seen.keys() == {200, 429}
    until(lambda: flooding[0].ask("GET", "/v2/").status == 200, "it is served again")


def _flood(wire: Wire, done: Event) -> list[int]:
    """Ask until it is enough; what was answered."""
    statuses = list[int]()
    while not done.is_set():
        answer = wire.ask("GET", "/v2/")
        assert answer.status == 200 or (answer.code == "TOOMANYREQUESTS" and int(answer.headers["Retry-After"]) > 0)
        statuses.append(answer.status)
    return statuses


def _is_refused(daemon: Daemon) -> bool:
    return any(line["event"] == "access.too_many" and line["party"] == "token:ci" for line in daemon.log_lines())


def _known(directory: Path) -> dict[str, dict[str, object]]:
    return {"identity": identity(directory / "identity"), "rules": dict(RULES)}


def test_a_flood_of_bad_passwords(start: Start, directory: Path) -> None:
    """It counts for the place that it comes from, and not for whom it names."""
    daemon = start({"callers": {"requests": 1.0, "burst": 3}, **_known(directory)})
    wrong = Wire(daemon.url, authorization=Bearer("wrong").header)
    until(lambda: wrong.ask("GET", "/v2/").status == 429, "the flood is noticed")
    assert Wire(daemon.url, authorization=CI.header).ask("GET", "/v2/").status == 200


def test_more_uploads_at_once_than_one_may_have(start: Start, directory: Path) -> None:
    """One more body is refused while others are on their way, and taken when one of them has ended."""
    daemon = start({"callers": {"uploads": 2}, **_known(directory)})
    ci, bob = (Wire(daemon.url, authorization=who.header) for who in (CI, BOB))
    locations = [ci.begin("acme/app") for _ in range(3)]
    with ExitStack() as stack:
        for location in locations[:2]:
            connection = stack.enter_context(connected(daemon.host))
            connection.sendall(_head("PATCH", location, 1000) + bytes(500))
        until(lambda: ci.ask("PATCH", locations[2], b"x").status == 429, "both are on their way")
        answer = ci.ask("PATCH", locations[2], b"x")
        assert answer.status == 429
        assert answer.code == "TOOMANYREQUESTS"
        assert int(answer.headers["Retry-After"]) > 0
        assert bob.push_blob("globex/app", b"bob's")
    until(lambda: ci.ask("PATCH", locations[2], b"x").status == 202, "one has ended")


def _head(method: str, location: str, size: int) -> bytes:
    head = f"{method} {location} HTTP/1.1\r\nHost: x\r\nAuthorization: {CI.header}\r\nContent-Length: {size}\r\n\r\n"
    return head.encode()


def test_more_sessions_than_one_may_have(start: Start, directory: Path, containerd: Containerd) -> None:
    """What was begun counts until it ends, also after a kill -9; what is refused leaves nothing in containerd."""
    daemon = start({"callers": {"sessions": 3}, **_known(directory)})
    ci, bob = (Wire(daemon.url, authorization=who.header) for who in (CI, BOB))
    locations = [ci.begin("acme/app") for _ in range(3)]
    leases = {lease for lease in containerd.leases() if "/upload/" in lease}
    for _ in range(2):
        refused = ci.ask("POST", "/v2/acme/app/blobs/uploads/")
        assert (refused.status, refused.code) == (429, "TOOMANYREQUESTS")
        assert "Retry-After" in refused.headers
        whole = ci.ask("POST", f"/v2/acme/app/blobs/uploads/?digest={digest_of(b'whole')}", b"whole")
        assert whole.status == 429
        assert bob.ask("DELETE", bob.begin("globex/app")).status == 204
        daemon.kill()
        daemon.start()
    assert {lease for lease in containerd.leases() if "/upload/" in lease} == leases
    assert ci.ask("PUT", finishing(locations[0], digest_of(b"first")), b"first").status == 201
    assert ci.ask("DELETE", locations[1]).status == 204
    assert [ci.ask("POST", "/v2/acme/app/blobs/uploads/").status for _ in range(3)] == [202, 202, 429]


def test_a_blob_that_is_too_large(start: Start) -> None:
    """It is refused by the length that it is announced to have, or when it turns out to have it."""
    daemon = start({"http": {"blob": 1000}})
    wire = Wire(daemon.url)
    location = wire.begin(REPOSITORY)
    assert wire.ask("PATCH", location, bytes(600)).status == 202
    for body in (bytes(401), iter([bytes(401)])):
        answer = wire.ask("PATCH", location, body)
        assert (answer.status, answer.code) == (413, "SIZE_INVALID")
    wire.push_blob(REPOSITORY, bytes(1000))
    answer = wire.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest_of(bytes(1001))}", bytes(1001))
    assert answer.status == 413


def test_a_manifest_that_is_too_large(start: Start) -> None:
    """The setting counts, where it is less than what registries take."""
    daemon = start({"http": {"manifest": 2000}})
    wire = Wire(daemon.url)
    wire.push_blob(REPOSITORY, b"{}")
    raw = manifest(b"{}")
    assert wire.push_manifest(REPOSITORY, "v1", raw.ljust(2000)).status == 201
    answer = wire.push_manifest(REPOSITORY, "v2", raw.ljust(2001))
    assert (answer.status, answer.code) == (413, "SIZE_INVALID")


def test_a_name_that_is_too_long(start: Start) -> None:
    """It is no name then."""
    daemon = start({"http": {"name": 20}})
    wire = Wire(daemon.url)
    assert wire.begin("a" * 20)
    answer = wire.ask("POST", f"/v2/{'a' * 21}/blobs/uploads/")
    assert (answer.status, answer.code) == (400, "NAME_INVALID")


@pytest.fixture
def full(start: Start, directory: Path) -> Daemon:
    """A daemon where each tenant may have 1000 bytes, of which acme has 600."""
    daemon = start({"tenants": {"bytes": 1000}, **_known(directory)})
    Wire(daemon.url, authorization=CI.header).push_blob("acme/app", HELD)
    return daemon


HELD, MORE = bytes(600), b"x" * 401


def _is_full(answer: Answer) -> bool:
    return (answer.status, answer.code, answer.headers.get("Retry-After")) == (507, "UNAVAILABLE", "60")


@pytest.mark.parametrize("body", [MORE, [MORE[:200], MORE[200:]]], ids=["of a length", "of no length"])
def test_a_tenant_that_is_full(full: Daemon, body: bytes | list[bytes]) -> None:
    """What would be too much is refused, in one request or several; others have their own room; all else goes on."""
    ci, bob = (Wire(full.url, authorization=who.header) for who in (CI, BOB))
    location = ci.begin("acme/other")
    assert _is_full(ci.ask("PATCH", location, body if isinstance(body, bytes) else iter(body)))
    assert _is_full(ci.ask("POST", f"/v2/acme/other/blobs/uploads/?digest={digest_of(MORE)}", MORE))
    assert bob.push_blob("globex/app", MORE + HELD[:500])
    assert ci.ask("GET", f"/v2/acme/app/blobs/{digest_of(HELD)}").body == HELD
    assert ci.push_blob("acme/other", HELD[:400])
    assert _is_full(ci.ask("PUT", finishing(ci.begin("acme/other"), digest_of(b"x")), b"x"))


def test_what_a_tenant_has_already(full: Daemon) -> None:
    """It counts once, however often and into how many of its repositories it comes."""
    ci = Wire(full.url, authorization=CI.header)
    ci.push_blob("acme/app", HELD)
    ci.push_blob("acme/other", HELD)
    mounted = ci.ask("POST", f"/v2/acme/third/blobs/uploads/?mount={digest_of(HELD)}&from=acme/app")
    assert mounted.status == 201
    assert ci.push_blob("acme/app", MORE[:400])


def test_a_tenant_has_room_again(full: Daemon) -> None:
    """Once it has deleted something, from the last repository that had it; a restart changes nothing."""
    ci = Wire(full.url, authorization=CI.header)
    ci.push_blob("acme/other", HELD)
    whole = f"/v2/acme/app/blobs/uploads/?digest={digest_of(MORE)}"
    for repository in ("acme/app", "acme/other"):
        full.kill()
        full.start()
        assert _is_full(ci.ask("POST", whole, MORE))
        assert ci.ask("DELETE", f"/v2/{repository}/blobs/{digest_of(HELD)}").status == 202
    assert ci.ask("POST", whole, MORE).status == 201


def test_two_that_take_the_last_room(full: Daemon, containerd: Containerd) -> None:
    """There was room for each of them when they began; one gets it, and of the other nothing stays."""
    ci = Wire(full.url, authorization=CI.header)
    blobs = [bytes([number]) * 300 for number in range(2)]
    locations = [ci.begin("acme/app") for _ in blobs]
    with ExitStack() as stack:
        connections = [stack.enter_context(connected(full.host)) for _ in blobs]
        for connection, location, blob in zip(connections, locations, blobs, strict=True):
            connection.sendall(_head("PUT", finishing(location, digest_of(blob)), 300) + blob[:150])
            until(partial(_holds, ci, location, 150), "it is on its way")
        for connection, blob in zip(connections, blobs, strict=True):
            connection.sendall(blob[150:])
        statuses = [int(connection.recv(1 << 16).split(b" ")[1]) for connection in connections]
    assert sorted(statuses) == [201, 507]
    lost = statuses.index(507)
    assert ci.ask("GET", locations[lost]).status == 404
    containerd.collect_garbage()
    assert digest_of(blobs[lost]) not in containerd.contents()


def _holds(wire: Wire, location: str, size: int) -> bool:
    return wire.ask("GET", location).headers["Range"] == f"0-{size - 1}"


@pytest.fixture
def secured(start: Start, directory: Path) -> Daemon:
    """A daemon with a second listener, of TLS, that is soon tired of waiting."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(directory / "tls.pem"))
    files = {"certificate": str(directory / "tls.pem"), "key": str(directory / "tls.pem")}
    address = f"127.0.0.1:{free_port()}"
    (directory / "address").write_text(address)
    listeners = {"secured": {"listen": address, "tls": files}}
    return start({"http": {"head": 1.0}, "callers": {"connections": 8}, "listeners": listeners})


def _secured(directory: Path, connection: socket.socket) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=directory / "ca.pem")
    return context.wrap_socket(connection, server_hostname="127.0.0.1")


@pytest.mark.parametrize("speaks", [True, False], ids=["TLS", "nothing"])
def test_silence_over_tls(secured: Daemon, directory: Path, *, speaks: bool) -> None:
    """Whoever does not say what he wants is hung up on there too, and so is who does not even begin with TLS."""
    with connected((directory / "address").read_text()) as connection:
        if speaks:
            with _secured(directory, connection) as stream:
                assert is_over(stream)
        else:
            assert is_over(connection)
    assert is_served(secured)


def test_bodies_over_tls(secured: Daemon, directory: Path, containerd: Containerd) -> None:
    """Large ones and small ones arrive, and are read back, on connections that are counted like all others."""
    data = bytes(range(256)) * (5 * 1024 * 4)
    address = (directory / "address").read_text()
    for size in [1000, len(data)] * 10:
        location = finishing(Wire(secured.url).begin(REPOSITORY), digest_of(data[:size]))
        head = f"PUT {location} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
        with connected(address) as connection, _secured(directory, connection) as stream:
            stream.sendall(head.encode() + data[:size])
            assert answer(stream).startswith(b"HTTP/1.1 201 ")
    assert containerd.content(digest_of(data)) == data
    path = f"/v2/{REPOSITORY}/blobs/{digest_of(data)}"
    with connected(address) as connection, _secured(directory, connection) as stream:
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert answer(stream).endswith(data)
