"""Bodies that are so large that their connection is taken from aiohttp."""

import socket
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from mirror.http.inlet import LARGE
from mirror.oci.manifest import MAX_MANIFEST
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.wire import Wire, digest_of, finishing

MIB = 1 << 20


@pytest.fixture
def connection(daemon: Daemon) -> Iterator[HTTPConnection]:
    """One that stays open, if the daemon does not end it."""
    connection = HTTPConnection(daemon.host, timeout=60)
    yield connection
    connection.close()


def body(size: int) -> bytes:
    """So many bytes that are those of no other size."""
    return size.to_bytes(8, "big") * (size // 8) + bytes(size % 8)


@pytest.mark.parametrize("size", [LARGE - 1, LARGE, LARGE + 1, 9 * MIB - 1, 9 * MIB])
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_they_arrive(wire: Wire, containerd: Containerd, connection: HTTPConnection, method: str, size: int) -> None:
    """Every byte, and no more; the connection ends with the answer if the body was large, which the answer says."""
    data = body(size)
    location = wire.begin("team/app")
    connection.request(method, finishing(location, digest_of(data)) if method == "PUT" else location, data)
    answer = connection.getresponse()
    assert answer.status == (201 if method == "PUT" else 202)
    assert answer.read() == b""
    assert answer.getheader("Connection") == (None if size < LARGE else "close")
    if method == "PATCH":
        assert wire.ask("PUT", finishing(location, digest_of(data))).status == 201
    assert containerd.content(digest_of(data)) == data


def test_one_that_is_asked_for(daemon: Daemon, wire: Wire, containerd: Containerd) -> None:
    """A client may wait until it is told to go on."""
    data = body(LARGE)
    location = finishing(wire.begin("team/app"), digest_of(data))
    lines = [f"PUT {location} HTTP/1.1", f"Host: {daemon.host}", f"Content-Length: {LARGE}", "Expect: 100-continue"]
    host, port = daemon.host.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(data)
        assert connection.recv(1000).startswith(b"HTTP/1.1 201 ")
        assert connection.recv(1000) == b""
    assert containerd.content(digest_of(data)) == data


def test_one_that_is_refused(wire: Wire, connection: HTTPConnection) -> None:
    """The client hears why, although it is still sending; the connection is not used again."""
    connection.request("PUT", "/v2/team/app/manifests/v1", body(MAX_MANIFEST + 40 * MIB))
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Connection")) == (413, "close")
    assert wire.ask("GET", "/v2/").status == 200


def test_one_with_the_wrong_digest(wire: Wire, containerd: Containerd) -> None:
    """It is refused when all of it has come, and leaves nothing."""
    data = body(LARGE + 2)
    answer = wire.ask("PUT", finishing(wire.begin("team/app"), digest_of(b"another")), data)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert digest_of(data) not in containerd.contents()
