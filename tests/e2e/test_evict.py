"""`registry-mirror evict`: what goes, what stays and why."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import UPSTREAM
from tests.e2e.conftest import ours
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import File, Layer, Layout, build_image
from tests.rig.until import until
from tests.rig.wire import Wire

NAME = f"{UPSTREAM}/team/app:v1"


@pytest.fixture
def layout(directory: Path) -> Layout:
    """An image that nobody else has."""
    return build_image(directory / "layout", [Layer([File("own", directory.name.encode())])])


def _evict(daemon: Daemon, *options: str) -> dict[str, Any]:
    done = daemon.cli("evict", "--json", *options)
    assert done.returncode == 0, done
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _pushed(daemon: Daemon, containerd: Containerd, layout: Layout, *tags: str) -> None:
    for tag in tags:
        Wire(daemon.url).push("team/app", tag, layout)
        for goal in ("unpacked", "replicated"):
            daemon.wait(f"team/app:{tag}", goal)
    until(lambda: not ours(containerd.leases()), "no job holds it")


def test_an_operator_makes_room(daemon: Daemon, containerd: Containerd, layout: Layout) -> None:
    """A dry run says what would go, and it goes; so many bytes as there are not is exit code 1."""
    _pushed(daemon, containerd, layout, "v1")
    said = daemon.cli("evict", "--dry-run", "--all").stdout
    assert f"would go: {NAME}: room is needed\n" in said
    assert containerd.images() == {NAME: layout.digest}
    assert _evict(daemon)["evicted"] == []
    done = daemon.cli("evict", "--bytes", "1000000000000")
    assert (done.returncode, f"gone: {NAME}" in done.stdout) == (1, True)
    assert (containerd.images(), containerd.contents(), containerd.snapshots()) == ({}, set(), set())
    assert daemon.cli("evict", "--bytes", "1", "--all").returncode == 2


def test_what_a_container_was_made_from(daemon: Daemon, containerd: Containerd, layout: Layout) -> None:
    """It stays, under any name, for as long as there is the container."""
    _pushed(daemon, containerd, layout, "v1", "v2")
    containerd.ctr("containers", "create", NAME, "idle")
    answer = _evict(daemon, "--all")
    assert answer["evicted"] == []
    assert {kept["image"].rpartition(":")[2]: kept["reasons"] for kept in answer["kept"]} == {
        "v1": ["a container was made from it"],
        "v2": ["a container was made from it"],
    }
    containerd.ctr("containers", "delete", "idle")
    assert len(_evict(daemon, "--all")["evicted"]) == 2
    assert containerd.images() == {}
