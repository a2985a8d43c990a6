"""Unpacking as whoever starts containers sees it: with another snapshotter, for other machines, layer by layer."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from pathlib import Path
from typing import Any

import pytest

from mirror.oci.manifest import chain_ids, parse_config
from tests.conftest import UPSTREAM
from tests.rig.client import OTHER_ARCHITECTURE
from tests.rig.clients import skopeo_push
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.halting import HaltingContainerd
from tests.rig.images import (
    ARCHITECTURE,
    File,
    Layer,
    Layout,
    Noise,
    Platform,
    build_image,
    build_index,
    busybox,
)
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import AdminWire, Wire

NAME = f"{UPSTREAM}/team/app:v1"
SIBLING = {"amd64": "386", "arm64": "arm"}[ARCHITECTURE]
"""What this machine runs too."""


@pytest.fixture
def settings() -> dict[str, dict[str, object]]:
    """What a test sets, by a parameter of this name."""
    return {}


@pytest.fixture
def daemon(
    directory: Path, containerd: Containerd, registry: Registry, settings: dict[str, dict[str, object]]
) -> Iterator[Daemon]:
    """The daemon with the settings of a test."""
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: registry.url}, settings=settings) as daemon:
        yield daemon
    assert not daemon.complaints()


@pytest.mark.parametrize("settings", [{"containerd": {"snapshotter": "native"}}])
def test_another_snapshotter(directory: Path, daemon: Daemon, containerd: Containerd) -> None:
    """A container starts from the snapshots of the one that is set, and the other one has nothing of the image."""
    before = containerd.snapshots()
    layout = build_image(directory / "layout", [busybox(directory.name), Layer([File("second", b"layer")])])
    Wire(daemon.url).push("team/app", "v1", layout)
    daemon.wait(NAME, "unpacked")
    assert containerd.run_container(NAME, snapshotter="native").strip() == directory.name
    assert containerd.snapshots() == before


@pytest.mark.parametrize("settings", [{"containerd": {"namespace": "k8s.io"}}])
def test_the_namespace_of_kubernetes(directory: Path, daemon: Daemon, containerd: Containerd) -> None:
    """An image is there, labelled as the kubelet's own, and runs there; the default namespace has nothing of it."""
    layout = build_image(directory / "layout", [busybox(directory.name)])
    Wire(daemon.url).push("team/kubernetes", "v1", layout)
    daemon.wait(f"{UPSTREAM}/team/kubernetes:v1", "unpacked")
    kubelet = copy(containerd)
    kubelet.namespace = "k8s.io"
    listing = kubelet.ctr("images", "ls")
    assert (layout.digest in listing, "io.cri-containerd.image=managed" in listing) == (True, True)
    assert kubelet.run_container(f"{UPSTREAM}/team/kubernetes:v1").strip() == directory.name
    assert layout.digest not in containerd.contents()


@pytest.mark.parametrize(
    ("settings", "unpacked"),
    [
        ({}, {ARCHITECTURE}),
        (
            {"unpack": {"platforms": [f"linux/{ARCHITECTURE}", f"linux/{OTHER_ARCHITECTURE}"]}},
            {ARCHITECTURE, OTHER_ARCHITECTURE},
        ),
    ],
)
def test_platforms(directory: Path, daemon: Daemon, containerd: Containerd, unpacked: set[str]) -> None:
    """Of an index the one image that suits each platform best, and no other, be it one that would run."""
    before = containerd.snapshots()
    machines = (SIBLING, OTHER_ARCHITECTURE, "s390x", ARCHITECTURE)
    images = {Platform(machine): [Layer([File(machine, directory.name.encode())])] for machine in machines}
    layout = build_index(directory / "layout", images)
    skopeo_push(layout, f"{daemon.host}/team/app:v1")
    for manifest in [layout.top, *(child for child in layout.children if "manifest" in child.media_type)]:
        _wait(daemon, manifest.digest)
    assert containerd.snapshots() - before == {chain for machine, chain in _tops(layout) if machine in unpacked}


def _wait(daemon: Daemon, digest: str) -> None:
    """Wait until there is nothing left to unpack; a command for each would take longer than the unpacking."""
    path = f"/wait?image=team/app@{digest}&for=unpacked&timeout=60"
    answer = AdminWire(daemon.directory / "admin.sock").ask("GET", path)
    assert json.loads(answer.body)["reached"], answer


def _tops(layout: Layout) -> Iterator[tuple[str, str]]:
    """Of each image of an index its machine, and what its filesystem is called."""
    for child in layout.children:
        if "config" in child.media_type:
            config = parse_config(layout.blob(child.digest).read_bytes())
            yield config.architecture, chain_ids(config.rootfs.diff_ids)[-1]


@pytest.mark.containerd
def test_layer_by_layer(directory: Path, registry: Registry) -> None:
    """While a layer is unpacked, status tells how many are, to programs and to people; afterwards it does not."""
    layout = build_image(directory / "layout", [busybox(directory.name, "none"), Layer([File("second", b"layer")])])
    first, second = (child.size for child in layout.children if "layer" in child.media_type)
    with (
        HaltingContainerd(directory / "containerd") as containerd,
        Daemon(directory / "daemon", containerd.address, {UPSTREAM: registry.url}) as daemon,
    ):
        containerd.halt.touch()
        Wire(daemon.url).push("team/app", "v1", layout)
        until(lambda: _unpack(daemon)["layers"] == {"done": 1, "of": 2}, "the first layer is unpacked")
        assert _unpack(daemon)["bytes"] == {"done": first, "of": first + second}
        assert "unpack:   running, 1 of 2 layers (" in daemon.cli("status", NAME).stdout
        containerd.halt.unlink()
        daemon.wait(NAME, "unpacked")
        assert _unpack(daemon) == {"state": "done", "reason": "", "layers": None, "bytes": None}
        assert not daemon.complaints()


def _unpack(daemon: Daemon) -> dict[str, Any]:
    answer = AdminWire(daemon.directory / "admin.sock").ask("GET", f"/status?image={NAME}")
    unpack: dict[str, Any] = json.loads(answer.body)["unpack"]
    return unpack


def _unpacked_layers(daemon: Daemon) -> list[str]:
    return [line["chain_id"] for line in daemon.log_lines() if line["event"] == "layer.unpacked"]


@pytest.mark.parametrize("settings", [{"unpack": {"images": 4}}])
def test_a_layer_of_many_images(directory: Path, daemon: Daemon) -> None:
    """Images that are pushed together and share layers have each of those unpacked once."""
    shared = [busybox(directory.name), Layer([Noise("shared", 8_000_000)])]
    own = [Layer([File(f"own-{number}", directory.name.encode())]) for number in range(4)]
    layouts = [build_image(directory / f"layout-{at}", [*shared, layer]) for at, layer in enumerate(own)]
    for layout in layouts:
        for child in layout.children:
            Wire(daemon.url).push_blob("team/app", layout.blob(child.digest).read_bytes())
    with ThreadPoolExecutor(len(layouts)) as pool:
        list(pool.map(lambda layout: _acknowledge(daemon, layout), layouts))
    for layout in layouts:
        _wait(daemon, layout.digest)
    times = Counter(_unpacked_layers(daemon))
    assert (len(times), set(times.values())) == (len(shared) + len(own), {1})


def _acknowledge(daemon: Daemon, layout: Layout) -> None:
    assert Wire(daemon.url).push_manifest("team/app", layout.digest, layout.manifest).status == 201
