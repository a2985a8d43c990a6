"""The daemon on a containerd whose disk is small: it refuses early, makes room, and says why when it cannot."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.disk import Disk
from tests.rig.images import File, Layer, build_image
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import Answer, Wire, digest_of, finishing, manifest

MIB = 1024 * 1024
SIZE = 40 * MIB
RESERVE = 2 * MIB
LAYER = 8 * MIB
CONFIG = b"{}"


@pytest.fixture
def disk(directory: Path) -> Iterator[Disk]:
    """What containerd is on."""
    with Disk(directory / "disk", SIZE) as disk:
        yield disk


@pytest.fixture
def containerd(disk: Disk) -> Iterator[Containerd]:
    """The host's, on its small disk."""
    with Containerd(disk.path / "c") as containerd:
        yield containerd


@pytest.fixture
def daemon(directory: Path, containerd: Containerd, registry: Registry) -> Iterator[Daemon]:
    """A daemon that makes room only for what is refused."""
    settings = {"disk": {"reserve": RESERVE}}
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: registry.url}, settings=settings) as daemon:
        until(lambda: [line for line in daemon.log_lines() if line["event"] == "containerd.ready"], "it knows the disk")
        yield daemon
    assert not daemon.complaints()


@pytest.fixture
def wire(daemon: Daemon) -> Wire:
    """Requests to the daemon."""
    return Wire(daemon.url)


def layer(number: int) -> bytes:
    """Bytes that no other number has."""
    return random.Random(number).randbytes(LAYER)  # noqa: S311 - they must repeat themselves


def put(wire: Wire, data: bytes) -> Answer:
    """Push a blob by POST and PUT, if it begins at all."""
    answer = wire.ask("POST", "/v2/team/app/blobs/uploads/")
    return (
        wire.ask("PUT", finishing(answer.headers["Location"], digest_of(data)), data)
        if answer.status == 202
        else answer
    )


def push(wire: Wire, number: int) -> int:
    """Push an image with a layer of its own as `v<number>`; returns the status of its layer."""
    data = layer(number)
    wire.push_blob("team/app", CONFIG)
    answer = put(wire, data)
    if answer.status == 201:
        assert wire.push_manifest("team/app", f"v{number}", manifest(CONFIG, data)).status == 201
    return answer.status


def tags(containerd: Containerd) -> set[str]:
    """The tags that are here."""
    return {name.rpartition(":")[2] for name in containerd.images()}


def test_room_is_made(daemon: Daemon, containerd: Containerd, registry: Registry, wire: Wire) -> None:
    """A push that does not fit is refused before a byte is stored; what was used longest ago goes, and it succeeds.

    The upstream keeps what went, its status says so, and pushing it again works.
    """
    for number in (1, 2, 3, 4):
        assert push(wire, number) == 201
        daemon.wait(f"team/app:v{number}", "replicated")
    assert wire.ask("GET", "/v2/team/app/manifests/v1").status == 200
    refused = put(wire, layer(5))
    assert (refused.status, refused.code) == (507, "UNAVAILABLE")
    assert "Retry-After" in refused.headers
    assert f"{LAYER} bytes needed" in refused.error["detail"]
    assert digest_of(layer(5)) not in containerd.contents()
    assert until(lambda: push(wire, 5) == 201, "there is room")
    assert tags(containerd) == {"v1", "v3", "v4", "v5"}
    assert digest_of(layer(2)) not in containerd.contents()
    for path in ("manifests/v2", f"blobs/{digest_of(layer(2))}"):
        assert wire.ask("HEAD", f"/v2/team/app/{path}").status == 404
    assert "replicated" in daemon.cli("status", "team/app:v2").stdout
    assert registry.tags("team/app") >= {"v1", "v2", "v3", "v4"}
    daemon.wait("team/app:v5", "replicated")
    assert until(lambda: push(wire, 2) == 201, "it comes again")
    daemon.wait("team/app:v2", "replicated")


def test_only_what_is_not_upstream_is_left(
    daemon: Daemon, containerd: Containerd, registry: Registry, wire: Wire, disk: Disk
) -> None:
    """Nothing of it goes, the log says why, new uploads are refused; all goes on once the upstream is back."""
    registry.kill()
    for number in (1, 2, 3):
        assert push(wire, number) == 201
    assert put(wire, bytes(2 * LAYER)).status == 507
    line = until(
        lambda: [line for line in daemon.log_lines() if line["event"] == "evict.nothing_left"], "it has looked"
    )[0]
    assert "3 images stay: not upstream yet" in line["reason"]
    kept = daemon.cli("evict", "--dry-run", "--all")
    assert kept.returncode == 0
    assert kept.stdout.count("not upstream yet") == 3
    assert daemon.cli("evict", "--bytes", "1").returncode == 1
    disk.fill()
    assert wire.ask("POST", "/v2/team/app/blobs/uploads/").status == 507
    assert wire.push_manifest("team/app", "v9", manifest(CONFIG)).status == 507
    assert tags(containerd) == {"v1", "v2", "v3"}
    disk.free()
    registry.start()
    for number in (1, 2, 3):
        daemon.wait(f"team/app:v{number}", "replicated")
    assert until(lambda: put(wire, bytes(2 * LAYER)).status == 201, "there is room")


def test_a_chunked_body_stops_at_the_reserve(wire: Wire) -> None:
    """Of a body without a length no more is taken than leaves the reserve; the session is there as far as it came."""
    location = wire.begin("team/app")
    answer = wire.ask("PATCH", location, (bytes(MIB) for _ in range(SIZE // MIB)))
    assert (answer.status, answer.error["message"]) == (507, "no room on the disk of the host's containerd")
    assert 0 < int(wire.ask("GET", location).headers["Range"].removeprefix("0-")) < SIZE - RESERVE
    assert wire.ask("DELETE", location).status == 204
    assert put(wire, layer(1)).status == 201


def test_no_room_to_unpack(daemon: Daemon, containerd: Containerd, directory: Path, wire: Wire) -> None:
    """An image that unpacks to more than there is room for waits until what was used longest ago has gone."""
    for number in (1, 2):
        assert push(wire, number) == 201
        daemon.wait(f"team/app:v{number}", "replicated")
    layout = build_image(directory / "layout", [Layer([File("large", bytes(3 * LAYER))])])
    wire.push("team/large", "v1", layout)
    daemon.wait("team/large:v1", "unpacked")
    assert "task.failed" in {line["event"] for line in daemon.log_lines()}
    assert f"{UPSTREAM}/team/app:v1" not in containerd.images()
    assert not [key for key in containerd.snapshots() if key.startswith("extract-")]
