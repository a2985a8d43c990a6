"""A containerd that comes and goes while the daemon runs."""

import json
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.until import until
from tests.rig.wire import AdminWire, Answer, Wire, digest_of

BLOB = bytes(range(256)) * 4000
# Less than containerd would be waited for by a request that does not know better.
IMPATIENT = 9.0


def ready(daemon: Daemon) -> Answer:
    """What the readiness endpoint says."""
    return AdminWire(daemon.directory / "admin.sock").ask("GET", "/ready")


def reasons(daemon: Daemon) -> list[str]:
    """Why the daemon takes no pushes."""
    found: list[str] = json.loads(ready(daemon).body)["reasons"]
    return found


def push(daemon: Daemon) -> Answer:
    """Try to begin a push, by a client that does not wait for long."""
    return Wire(daemon.url, patience=IMPATIENT).ask("POST", "/v2/team/app/blobs/uploads/")


@pytest.mark.slow
def test_one_that_hangs(daemon: Daemon, containerd: Containerd) -> None:
    """Requests fail at once with the reason, those under way too; when it goes on, so does the push."""
    wire = Wire(daemon.url)
    location = wire.begin("team/app")
    containerd.pause()
    under_way = wire.ask("PATCH", location, BLOB)
    assert (under_way.status, under_way.code) == (503, "UNAVAILABLE")
    refused = push(daemon)
    assert (refused.status, refused.error["message"]) == (503, "the host's containerd is not answering")
    assert refused.headers["Retry-After"]
    assert ready(daemon).status == 503
    assert "DEADLINE_EXCEEDED" in reasons(daemon)[0]
    status = daemon.status()["containerd"]
    assert status["version"]
    assert status["reason"] == reasons(daemon)[0]
    containerd.resume()
    until(lambda: ready(daemon).status == 200, "it is back")
    offset = int(wire.ask("GET", location).headers["Range"].partition("-")[2]) + 1
    rest = BLOB[offset:] if offset > 1 else BLOB
    assert wire.ask("PUT", f"{location}?digest={digest_of(BLOB)}", rest).status == 201
    assert containerd.content(digest_of(BLOB)) == BLOB


def test_one_that_starts_later(directory: Path) -> None:
    """The daemon is there first, says what it waits for, and works as soon as it can."""
    containerd = Containerd(directory / "c")
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: "http://127.0.0.1:1"}) as daemon:
        until(lambda: ready(daemon).status == 503, "it has looked for containerd")
        assert push(daemon).status == 503
        with containerd:
            until(lambda: ready(daemon).status == 200, "it has found containerd")
            assert Wire(daemon.url).push_blob("team/app", BLOB)
        assert not daemon.complaints()


def test_a_snapshotter_that_is_not_there(directory: Path, containerd: Containerd) -> None:
    """One line of the log says what is wrong, and so does every way to ask; pushes are refused."""
    reason = "snapshotter 'imaginary' does not exist; containerd has these in working order"
    upstreams, settings = {UPSTREAM: "http://127.0.0.1:1"}, {"containerd": {"snapshotter": "imaginary"}}
    with Daemon(directory / "daemon", containerd.address, upstreams, settings=settings) as daemon:
        until(lambda: ready(daemon).status == 503, "it has looked")
        assert reason in reasons(daemon)[0]
        assert f"no pushes are taken: {reason}" in daemon.cli("status").stdout
        assert push(daemon).status == 503
        lines = [line for line in daemon.log_lines() if line["event"] == "containerd.unavailable"]
        assert [reason in line["reason"] for line in lines] == [True]
