"""Clients that stop in the middle of what they do, of small bodies and of those that are large."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mirror.http.inlet import LARGE
from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.until import until
from tests.rig.wire import Wire, digest_of

DATA = bytes(range(256)) * (2 * LARGE // 256)
IDLE = 2.0

either_size = pytest.mark.parametrize(("size", "sent"), [(1_000_000, 1000), (len(DATA), LARGE + 1000)])


@pytest.fixture
def daemon(directory: Path, containerd: Containerd) -> Iterator[Daemon]:
    """A daemon that is soon tired of waiting."""
    upstreams, settings = {UPSTREAM: "http://127.0.0.1:1"}, {"http": {"idle": IDLE}}
    with Daemon(directory / "daemon", containerd.address, upstreams, settings=settings) as daemon:
        yield daemon
    assert not daemon.complaints()


@contextmanager
def _sending(daemon: Daemon, location: str, size: int, begin: bytes) -> Iterator[socket.socket]:
    """A connection over which a chunk of `size` bytes has begun."""
    head = f"PATCH {location} HTTP/1.1\r\nHost: {daemon.host}\r\nContent-Length: {size}\r\n\r\n"
    host, port = daemon.host.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode() + begin)
        yield connection


def _offset(wire: Wire, location: str) -> int:
    """How much a session has; it never has a single byte here, which would look the same as none."""
    last = int(wire.ask("GET", location).headers["Range"].removeprefix("0-"))
    return last and last + 1


def _goes_on(wire: Wire, location: str, data: bytes) -> bool:
    """Send the rest; on a slow machine we may be a client that stalls, too."""
    start = _offset(wire, location)
    rest = {"Content-Range": f"{start}-{len(data) - 1}"}
    return start == len(data) or wire.ask("PATCH", location, data[start:], rest).status == 202


def _ends_well(wire: Wire, containerd: Containerd, location: str, data: bytes) -> None:
    until(lambda: _goes_on(wire, location, data), "the next request goes on")
    assert wire.ask("PUT", f"{location}?digest={digest_of(data)}", b"").status == 201
    assert containerd.content(digest_of(data)) == data


@either_size
def test_a_client_that_stalls(daemon: Daemon, containerd: Containerd, size: int, sent: int) -> None:
    """It gets a 408 instead of holding its upload for ever; what it sent counts, and the next request goes on."""
    wire = Wire(daemon.url)
    location = wire.begin("team/app")
    with _sending(daemon, location, size, DATA[:sent]) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
        until(lambda: _offset(wire, location) == sent, "the session is as it was")
        _ends_well(wire, containerd, location, DATA[:size])


@either_size
def test_a_client_that_is_slow(daemon: Daemon, containerd: Containerd, size: int, sent: int) -> None:
    """As long as something comes it is waited for, however little."""
    wire = Wire(daemon.url)
    location = wire.begin("team/app")
    last = 10
    with _sending(daemon, location, sent, DATA[: sent - last]) as connection:
        for at in range(sent - last, sent):
            time.sleep(IDLE / 8)
            connection.sendall(DATA[at : at + 1])
        assert connection.recv(100).startswith(b"HTTP/1.1 202 ")
    assert _offset(wire, location) == sent
    _ends_well(wire, containerd, location, DATA[:size])


@either_size
@pytest.mark.parametrize("how", [None, socket.SHUT_WR], ids=["gone", "half closed"])
def test_a_client_that_goes_away(daemon: Daemon, containerd: Containerd, size: int, sent: int, how: int | None) -> None:
    """Its upload is free at once, and whoever comes next goes on with what is there of it."""
    wire = Wire(daemon.url)
    location = wire.begin("team/app")
    with _sending(daemon, location, size, DATA[:sent]) as connection:
        if how is not None:
            connection.shutdown(how)
            assert connection.recv(100) == b""
    _ends_well(wire, containerd, location, DATA[:size])
