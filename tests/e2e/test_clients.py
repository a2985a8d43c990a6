"""Real clients push; the image runs from containerd without a pull, and is upstream byte for byte."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.e2e.conftest import Parts, ours
from tests.rig.clients import skopeo_push
from tests.rig.containers import Buildah
from tests.rig.daemon import Daemon
from tests.rig.images import (
    ARCHITECTURE,
    MEDIA,
    Compression,
    File,
    Layer,
    MediaName,
    Platform,
    build_image,
    build_index,
    busybox,
)
from tests.rig.programs import Programs
from tests.rig.until import until

KINDS: list[tuple[MediaName, Compression]] = [
    ("oci", "gzip"),
    ("oci", "zstd"),
    ("oci", "none"),
    ("docker", "gzip"),
    ("docker", "none"),
]


@pytest.mark.parametrize("client", ["skopeo", "ctr"])
@pytest.mark.parametrize(("media", "compression"), KINDS)
def test_push_run_replicate(
    client: str, media: MediaName, compression: Compression, directory: Path, parts: Parts
) -> None:
    """The layout's very own manifest and blobs get into containerd and upstream, whatever their kind."""
    layout = build_image(directory / "layout", _layers(directory, compression), media=media)
    parts.push(client, layout, f"{parts.daemon.host}/team/app:v1")
    _follow(parts, layout.digest, marker=directory.name)


@pytest.mark.parametrize(
    ("media", "compression"), [kind for kind in KINDS if kind[1] != "none"]
)  # buildah 1.28 compresses at every push, `--disable-compression` notwithstanding
def test_push_run_replicate_with_buildah(
    media: MediaName, compression: Compression, directory: Path, parts: Parts
) -> None:
    """The same image from buildah, which makes manifest and layers anew, in the kinds it is asked for."""
    buildah = Buildah(Programs(directory, directory / "buildah"))
    image = replace(buildah.make(directory.name, compression), media=media)
    digest = buildah.push(image, f"{parts.daemon.host}/team/app:v1")
    sent = json.loads(parts.containerd.content(digest))
    assert {layer["mediaType"] for layer in sent["layers"]} == {MEDIA[media].layer_type(compression)}
    _follow(parts, digest, marker=directory.name)


def _layers(directory: Path, compression: Compression) -> list[Layer]:
    return [busybox(directory.name, compression), Layer([File("etc/second", directory.name.encode())], compression)]


def _follow(parts: Parts, digest: str, marker: str) -> None:
    """The container starts without a pull; the image gets upstream, and then nothing holds it back here any more."""
    name = f"{UPSTREAM}/team/app:v1"
    parts.daemon.wait(name, "unpacked")
    assert parts.containerd.run_container(name).strip() == marker
    parts.daemon.wait(name, "replicated")
    parts.compare(name, digest)
    until(lambda: not ours(parts.containerd.leases()), "the lease is released")


def test_an_index_of_two_platforms(directory: Path, parts: Parts) -> None:
    """Of an index, the image for this machine runs; every platform is upstream."""
    other = "arm64" if ARCHITECTURE == "amd64" else "amd64"
    images = {Platform(): [busybox(directory.name)], Platform(other): [Layer([File("other", b"platform")])]}
    layout = build_index(directory / "layout", images)
    skopeo_push(layout, f"{parts.daemon.host}/team/multi:v1")
    name = f"{UPSTREAM}/team/multi:v1"
    parts.daemon.wait(name, "unpacked")
    assert parts.containerd.run_container(name).strip() == directory.name
    parts.daemon.wait(name, "replicated")
    parts.compare(name, layout.digest)


def test_pushed_again_nothing_is_uploaded(directory: Path, daemon: Daemon) -> None:
    """The second push of an image finds every blob there: no upload session is opened."""
    layout = build_image(directory / "layout", [busybox(directory.name)])
    for _ in range(2):
        skopeo_push(layout, f"{daemon.host}/team/again:v1")
    requests = [line for line in daemon.log_lines() if line["event"] == "http.request"]
    assert len([line for line in requests if line["method"] == "POST"]) == len(layout.children)
