"""Clients that stop in the middle of what they do."""

import socket
from pathlib import Path

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.until import until
from tests.rig.wire import Wire, digest_of

DATA = bytes(range(256)) * 4000


def _goes_on(wire: Wire, location: str) -> bool:
    """Send the rest; on a slow machine we may be a client that stalls, too."""
    start = int(wire.ask("GET", location).headers["Range"].removeprefix("0-")) + 1
    rest = {"Content-Range": f"{start}-{len(DATA) - 1}"}
    return wire.ask("PATCH", location, DATA[start:], rest).status == 202


def test_a_client_that_stalls(directory: Path, containerd: Containerd) -> None:
    """It gets a 408 instead of holding its upload for ever; what it sent counts, and the next request goes on."""
    settings = {"http": {"idle": 0.5}}
    upstreams = {UPSTREAM: "http://127.0.0.1:1"}
    with Daemon(directory / "daemon", containerd.address, upstreams, settings=settings) as daemon:
        wire = Wire(daemon.url)
        location = wire.begin("team/app")
        head = f"PATCH {location} HTTP/1.1\r\nHost: {daemon.host}\r\nContent-Length: {len(DATA)}\r\n\r\n"
        host, port = daemon.host.split(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(head.encode() + DATA[:1000])
            assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
            until(lambda: wire.ask("GET", location).headers["Range"] == "0-999", "the session is as it was")
            until(lambda: _goes_on(wire, location), "the next request goes on")
        assert wire.ask("PUT", f"{location}?digest={digest_of(DATA)}", b"").status == 201
        assert containerd.content(digest_of(DATA)) == DATA
        assert not daemon.complaints()
