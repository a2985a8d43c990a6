"""A containerd that cannot take what is pushed."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.disk import Disk
from tests.rig.until import until
from tests.rig.wire import Wire, digest_of

BLOB = bytes(range(256)) * 9000


def filling(disk: Disk, containerd: Containerd) -> Iterator[bytes]:
    """A blob while whose first half is under way, and past the question whether there is room, others fill the disk."""
    yield BLOB
    until(containerd.ingests, "bytes arrive in containerd")
    disk.fill()
    yield BLOB


@pytest.mark.containerd
@pytest.mark.parametrize("headers", [{}, {"Content-Length": str(2 * len(BLOB))}], ids=["chunked", "with a length"])
def test_its_disk_is_full(directory: Path, headers: Mapping[str, str]) -> None:
    """A push on the way is a 507 that says whose disk is full, and succeeds once there is room again."""
    upstreams = {UPSTREAM: "http://127.0.0.1:1"}
    with (
        Disk(directory / "disk", 32 * 1024 * 1024) as disk,
        Containerd(disk.path / "c") as containerd,
        Daemon(directory / "daemon", containerd.address, upstreams) as daemon,
    ):
        wire = Wire(daemon.url)
        location = wire.begin("team/app")
        answer = wire.ask("PATCH", location, filling(disk, containerd), headers)
        assert (answer.status, answer.code) == (507, "UNAVAILABLE")
        assert answer.error["message"] == "the disk of the host's containerd is full"
        disk.free()
        assert wire.push_blob("team/app", BLOB) == digest_of(BLOB)
        assert not daemon.complaints()
