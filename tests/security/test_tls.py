"""TLS of the listeners: large bodies both ways, who is shown and asked for, and files that others renew."""

import grp
import hashlib
import json
import os
import socket
import ssl
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from mirror.http.inlet import LARGE
from tests.conftest import UPSTREAM
from tests.rig.authority import Authority
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.ports import free_port
from tests.rig.until import until
from tests.rig.wire import AdminWire, Wire, digest_of, finishing
from tests.security.people import ALICE, BOB, CI, FROM_ACME, NOWHERE, PEOPLE, RULES, identity

MIB = 1 << 20
_GROUP = "daemon"  # of every Debian
REQUEST = b"GET /v2/acme/app/tags/list HTTP/1.1\r\nHost: here\r\n\r\n"


@dataclass(frozen=True)
class Secured:
    """A daemon with several listeners, and the authorities of its certificate and of its clients'."""

    daemon: Daemon
    servers: Authority
    clients: Authority
    places: Mapping[str, int]
    path: Path

    def wire(self, place: str = "tls", *, client: Path | None = None, source: str = "", shown: str = "") -> Wire:
        """Requests to a listener with TLS."""
        return Wire(
            f"https://127.0.0.1:{self.places[place]}",
            source=source,
            authorization=shown or None,
            tls=self.servers.context(client),
        )

    def connect(self, place: str = "tls") -> socket.socket:
        """A connection, and nothing more."""
        return socket.create_connection(("127.0.0.1", self.places[place]), timeout=60)


def _secured(scratch: Path, containerd: Containerd) -> Iterator[Secured]:
    directory = Path(tempfile.mkdtemp(dir=scratch))
    servers, clients = Authority(directory / "servers"), Authority(directory / "clients")
    places = {name: free_port() for name in ("tls", "logins")}
    path = directory / "push.sock"
    settings = {
        "identity": identity(directory / "identity", certificate_tenant="O", issue=300),
        "rules": RULES,
        "listeners": {
            "tls": _listener(places["tls"], {**servers.server(), "client_ca": str(clients.ca)}),
            "logins": {**_listener(places["logins"], servers.server("other")), "identify": ["basic"]},
            "here": {
                "listen": f"unix:{path}",
                "group": _GROUP,
                "identify": [],
                "tenant": "acme",
            },
        },
    }
    with Daemon(
        directory / "daemon", containerd.address, {UPSTREAM: "http://127.0.0.1:1"}, settings=settings
    ) as daemon:
        yield Secured(daemon, servers, clients, places | {"plain": int(daemon.host.rpartition(":")[2])}, path)
    assert not daemon.complaints()


def _listener(port: int, tls: Mapping[str, str]) -> dict[str, object]:
    return {"listen": f"127.0.0.1:{port}", "tls": tls}


@pytest.fixture(scope="module")
def secured(scratch: Path, containerd: Containerd) -> Iterator[Secured]:
    """One whose files stay as they are."""
    yield from _secured(scratch, containerd)


@pytest.fixture
def renewable(scratch: Path, containerd: Containerd) -> Iterator[Secured]:
    """One of the test's own."""
    yield from _secured(scratch, containerd)


def _body(size: int) -> bytes:
    return size.to_bytes(8, "big") * (size // 8) + bytes(size % 8)


@pytest.mark.parametrize("size", [1, LARGE - 1, LARGE, 9 * MIB + 1])
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_bodies_there_and_back(secured: Secured, method: str, size: int) -> None:
    """Of any size, every byte and no more, also where the connection is taken from aiohttp."""
    wire = secured.wire(shown=ALICE.header)
    data = _body(size)
    location = wire.begin("acme/app")
    if method == "PATCH":
        assert wire.ask("PATCH", location, data).status == 202
    assert wire.ask("PUT", finishing(location, digest_of(data)), data if method == "PUT" else None).status == 201
    path = f"/v2/acme/app/blobs/{digest_of(data)}"
    assert wire.ask("GET", path).body == data
    assert wire.ask("GET", path, headers={"Range": f"bytes={size // 2}-"}).body == data[size // 2 :]


def test_a_body_that_breaks_off(secured: Secured) -> None:
    """A client that goes away in the middle of a large body leaves what has come; the upload can go on."""
    wire = secured.wire(shown=ALICE.header)
    location, data = wire.begin("acme/app"), _body(2 * LARGE)
    head = (
        f"PATCH {location} HTTP/1.1\r\nHost: x\r\nAuthorization: {ALICE.header}\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    with secured.servers.context().wrap_socket(secured.connect(), server_hostname="127.0.0.1") as connection:
        connection.sendall(head.encode() + data[:LARGE])
    until(lambda: wire.ask("GET", location).status == 204, "the upload is free again")
    arrived = int(wire.ask("GET", location).headers["Range"].rpartition("-")[2]) + 1
    assert arrived <= LARGE
    assert wire.ask("PUT", finishing(location, digest_of(data)), data[arrived:]).status == 201


def test_large_blobs_are_not_held(secured: Secured) -> None:
    """Neither on the way in nor on the way out, however slowly somebody reads, and others are served meanwhile."""
    size = 160 * MIB
    wire = secured.wire(shown=ALICE.header)
    wire.push_blob("acme/app", _body(9 * MIB))
    before = secured.daemon.peak_memory()
    digest = wire.push_blob("acme/app", _body(size))
    path = f"/v2/acme/app/blobs/{digest}"
    slow = HTTPSConnection("127.0.0.1", secured.places["tls"], timeout=60, context=secured.servers.context())
    slow.request("GET", path, headers={"Authorization": ALICE.header})
    answer = slow.getresponse()
    begin = answer.read(MIB)
    assert digest_of(wire.ask("GET", path).body) == digest
    hashed = hashlib.sha256(begin)
    while data := answer.read(MIB):
        hashed.update(data)
    slow.close()
    assert f"sha256:{hashed.hexdigest()}" == digest
    assert secured.daemon.peak_memory() - before < size / 3


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions(secured: Secured, version: ssl.TLSVersion) -> None:
    """TLS 1.2 and 1.3, with a name or without one."""
    context = secured.servers.context()
    context.minimum_version = context.maximum_version = version
    context.check_hostname = False
    for name in ("localhost", None):
        with context.wrap_socket(secured.connect(), server_hostname=name) as connection:
            connection.sendall(REQUEST)
            assert connection.recv(100).startswith(b"HTTP/1.1 401 ")


def test_an_old_version(secured: Secured) -> None:
    """TLS 1.1 is none any more."""
    context = secured.servers.context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.deprecated_call():
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with secured.connect() as connection, pytest.raises((ssl.SSLError, ConnectionResetError)):
        context.wrap_socket(connection, server_hostname="127.0.0.1")
    assert secured.wire(shown=ALICE.header).ask("GET", "/v2/").status == 200


@pytest.mark.slow
def test_the_wrong_port(secured: Secured) -> None:
    """Plain HTTP on a port with TLS is hung up on, TLS on a plain one is refused; the log has no crash of it."""
    with secured.connect("tls") as connection:
        connection.sendall(REQUEST)
        assert _rest(connection) == b""
    with secured.connect("plain") as connection, pytest.raises(ssl.SSLError):
        secured.servers.context().wrap_socket(connection, server_hostname="127.0.0.1")
    with secured.connect("tls") as connection:
        connection.sendall(b"\x16\x03\x01" + os.urandom(5000))
        _rest(connection)
    assert secured.wire(shown=ALICE.header).ask("GET", "/v2/").status == 200
    assert not secured.daemon.complaints()


def _rest(connection: socket.socket) -> bytes:
    try:
        return b"".join(iter(lambda: connection.recv(1000), b""))
    except ConnectionResetError:
        return b""


def test_handshakes_that_stall(secured: Secured) -> None:
    """However many say nothing, or nothing more, others are served; each is given up after asyncio's sixty seconds."""
    with ExitStack() as stack:
        for begin in [b"", b"\x16\x03\x01\x02\x00"] * 50:
            connection = stack.enter_context(secured.connect())
            connection.sendall(begin)
        assert secured.wire(shown=ALICE.header).ask("GET", "/v2/").status == 200


def _may(wire: Wire, tenant: str) -> int:
    """What somebody is told who looks for what is not there: 404 if it would be his."""
    return wire.ask("GET", f"/v2/{tenant}/nothing/tags/list").status


def test_client_certificates(secured: Secured) -> None:
    """One of the authority says who it is, and whose; without a tenant it is nobody's; a login counts before it."""
    acme = secured.clients.client("ci", "acme")
    assert (_may(secured.wire(client=acme), "acme"), _may(secured.wire(client=acme), "globex")) == (404, 403)
    assert _may(secured.wire(client=secured.clients.client("stray")), "acme") == 403
    assert _may(secured.wire(client=acme, shown=BOB.header), "globex") == 404
    assert _may(secured.wire("logins", client=acme), "acme") == 401


def test_no_client_certificate(secured: Secured) -> None:
    """Whoever has none may show something else, or come from somewhere."""
    assert _may(secured.wire(), "acme") == 401
    assert _may(secured.wire(shown=ALICE.header), "acme") == 404
    assert _may(secured.wire(source=FROM_ACME), "acme") == 404


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_of_others(secured: Secured, directory: Path, version: ssl.TLSVersion) -> None:
    """It gets no connection, rather than another principal."""
    others = Authority(directory / "others")
    context = secured.servers.context(others.client("ci", "acme"))
    context.minimum_version = context.maximum_version = version
    assert not _is_let_in(secured, context)


def _is_let_in(secured: Secured, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> bool:
    """Whether a client is taken for one of acme; or gets no connection."""
    try:
        with (
            secured.connect() as connection,
            context.wrap_socket(connection, server_hostname="127.0.0.1", session=session) as secure,
        ):
            secure.sendall(REQUEST)
            answer = secure.recv(100)
    except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
        return False
    return answer.startswith(b"HTTP/1.1 404 ")


def _token(secured: Secured) -> str:
    answer = secured.wire(shown=CI.header).ask("GET", "/token?scope=repository:acme/nothing:pull")
    return str(json.loads(answer.body)["token"])


def test_the_kinds_of_listeners(secured: Secured) -> None:
    """At each listener its own kinds of proof count, and no others: not even by a token that was got at another."""
    token = _token(secured)
    for place, shown, source, status in [
        ("logins", ALICE.header, NOWHERE, 404),
        ("logins", CI.header, NOWHERE, 401),
        ("logins", PEOPLE["a job of acme"].authorization or "", NOWHERE, 401),
        ("logins", "", FROM_ACME, 401),
        ("logins", f"Bearer {token}", NOWHERE, 401),
        ("tls", CI.header, NOWHERE, 404),
        ("tls", PEOPLE["a job of acme"].authorization or "", NOWHERE, 404),
        ("tls", f"Bearer {token}", NOWHERE, 404),
    ]:
        assert _may(secured.wire(place, shown=shown, source=source), "acme") == status, (place, shown, source)


def test_a_unix_socket(secured: Secured) -> None:
    """For its owner and its group, who are whom the settings say, whatever they show."""
    info = secured.path.stat()
    assert (stat.S_ISSOCK(info.st_mode), stat.S_IMODE(info.st_mode), info.st_gid) == (
        True,
        0o660,
        grp.getgrnam(_GROUP).gr_gid,
    )
    wire = AdminWire(secured.path)
    digest = wire.push_blob("acme/socket", _body(LARGE))
    assert wire.ask("GET", f"/v2/acme/socket/blobs/{digest}").body == _body(LARGE)
    assert _may(wire, "globex") == 403
    assert wire.ask("GET", "/v2/globex/x/tags/list", headers={"Authorization": BOB.header}).status == 403


def _replace(path: str, content: bytes, *, rename: bool) -> None:
    if rename:
        new = Path(f"{path}.new")
        new.write_bytes(content)
        new.replace(path)
    else:
        Path(path).write_bytes(content)


def _shown(secured: Secured) -> str:
    return ssl.get_server_certificate(("127.0.0.1", secured.places["tls"]), ca_certs=str(secured.servers.ca))


def _lines(secured: Secured, event: str) -> int:
    return len([line for line in secured.daemon.log_lines() if line["event"] == event])


def _goes_on(connection: HTTPSConnection) -> None:
    connection.request("GET", "/v2/", headers={"Authorization": ALICE.header})
    assert connection.getresponse().read() == b"{}"


@pytest.mark.slow
def test_a_renewed_certificate(renewable: Secured) -> None:
    """Whichever file comes first, and however, the new one is shown once both are there; until then the old one is.

    What is broken is said once. Connections that are open go on.
    """
    now = renewable.servers.server()
    connection = HTTPSConnection("127.0.0.1", renewable.places["tls"], context=renewable.servers.context())
    connection.connect()
    first = connection.sock
    _goes_on(connection)
    for step, order in enumerate([("certificate", "key"), ("key", "certificate")], 1):
        old = _shown(renewable)
        new = renewable.servers.server(f"new-{step}")
        one, other = order
        _replace(now[one], Path(new[one]).read_bytes(), rename=step == 1)
        until(lambda step=step: _lines(renewable, "tls.kept") == step, "one file alone is not taken")  # type: ignore[misc]
        assert _shown(renewable) == old
        _replace(now[other], Path(new[other]).read_bytes(), rename=step == 2)
        expected = Path(new["certificate"]).read_text().replace("\r", "")
        until(lambda expected=expected: _shown(renewable).strip() in expected, "the new one is shown")  # type: ignore[misc]
        _goes_on(connection)
    _replace(now["certificate"], b"no certificate", rename=True)
    until(lambda: _lines(renewable, "tls.kept") == 3, "a broken one is not taken")
    last = renewable.servers.server("last")
    _replace(now["key"], Path(last["key"]).read_bytes(), rename=True)
    _replace(now["certificate"], Path(last["certificate"]).read_bytes(), rename=True)
    until(lambda: _shown(renewable).strip() in Path(last["certificate"]).read_text(), "the last one is shown")
    _goes_on(connection)
    assert connection.sock is first
    connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_renewed_client_authority(renewable: Secured, directory: Path, version: ssl.TLSVersion) -> None:
    """Those of the new one are let in, those of the old one are not: not even by resuming a session."""
    old = renewable.servers.context(renewable.clients.client("ci", "acme"))
    others = Authority(directory / "others")
    new = renewable.servers.context(others.client("ci", "acme"))
    for context in (old, new):
        context.minimum_version = context.maximum_version = version
    with old.wrap_socket(renewable.connect(), server_hostname="127.0.0.1") as connection:
        connection.sendall(REQUEST)
        assert connection.recv(100).startswith(b"HTTP/1.1 404 ")
        session = connection.session
    assert session is not None
    assert _is_let_in(renewable, old, session)
    assert not _is_let_in(renewable, new)
    _replace(str(renewable.clients.ca), others.ca.read_bytes(), rename=True)
    until(lambda: _is_let_in(renewable, new), "the new authority counts")
    assert not _is_let_in(renewable, old)
    assert not _is_let_in(renewable, old, session)
