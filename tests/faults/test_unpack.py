"""What goes wrong below an unpacking: the image becomes runnable by itself once that is over."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.disk import Disk
from tests.rig.halting import HaltingContainerd
from tests.rig.images import File, Layer, Layout, Noise, build_image, busybox
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import Wire

NAME = f"{UPSTREAM}/team/app:v1"
MIB = 1024 * 1024


@pytest.fixture
def disk(directory: Path) -> Iterator[Disk]:
    """Where containerd has everything."""
    with Disk(directory / "disk", 256 * MIB) as disk:
        yield disk


@pytest.fixture
def containerd(disk: Disk) -> Iterator[HaltingContainerd]:
    """One on a small disk."""
    with HaltingContainerd(disk.path / "c") as containerd:
        yield containerd


def _image(directory: Path, second: Layer) -> Layout:
    return build_image(directory / "layout", [busybox(directory.name, "none"), second])


def _events(daemon: Daemon, event: str) -> list[dict[str, Any]]:
    return [line for line in daemon.log_lines() if line["event"] == event]


def _runs(daemon: Daemon, containerd: Containerd, directory: Path) -> None:
    """The container starts, and no half snapshot is left once nothing holds one."""
    daemon.wait(NAME, "unpacked")
    assert containerd.run_container(NAME).strip() == directory.name
    daemon.wait(NAME, "replicated")
    until(lambda: not [lease for lease in containerd.leases() if "/job/" in lease], "the lease is released")
    containerd.collect_garbage()
    assert not [key for key in containerd.snapshots() if key.startswith("extract-")]


def test_the_disk_is_full(directory: Path, disk: Disk, containerd: Containerd, daemon: Daemon) -> None:
    """A layer that finds no room when it is unpacked waits for it, and says so."""
    layout = _image(directory, Layer([File("large", bytes(64 * MIB))]))
    disk.fill(leave=32 * MIB)
    Wire(daemon.url).push("team/app", "v1", layout)
    [failure, *_] = until(lambda: _events(daemon, "task.failed"), "no room")
    assert failure["kind"] == "unpack"
    assert "no space left on device" in failure["reason"]
    disk.free()
    _runs(daemon, containerd, directory)


def test_containerd_is_killed(
    directory: Path, containerd: HaltingContainerd, registry: Registry, daemon: Daemon
) -> None:
    """What was unpacked half way is unpacked anew once containerd is back."""
    registry.pause()  # else it would be busy with that, too
    layout = _image(directory, Layer([Noise("large", 2 * MIB)]))
    containerd.halt.touch()
    Wire(daemon.url).push("team/app", "v1", layout)
    until(lambda: _halves(containerd) and len(_events(daemon, "layer.unpacked")) == 1, "the second layer is half done")
    containerd.kill()
    containerd.halt.unlink()
    until(lambda: _events(daemon, "task.failed"), "it is noticed")
    containerd.start()
    registry.resume()
    _runs(daemon, containerd, directory)


def _halves(containerd: Containerd) -> list[str]:
    return [key for key in containerd.snapshots() if key.startswith("extract-")]
