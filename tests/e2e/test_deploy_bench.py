"""What the benchmark of deploys measures is what it says."""

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from bench.deploy import Builder, Way, builder_of, deploy_by_mirror, deploy_by_registry, make_image, measure
from tests.rig.containerd import Containerd
from tests.rig.images import Compression, Layout, Noise, Text, build_image, busybox

SIZE = 2 * 10**6


@pytest.fixture(params=["gzip", "zstd"])
def layout(directory: Path, request: pytest.FixtureRequest) -> Layout:
    """An image as they are deployed, but small."""
    compression: Compression = request.param
    return make_image(directory / "layout", SIZE, compression)


@pytest.fixture
def builder(directory: Path, layout: Layout) -> Iterator[Builder]:
    """What pushes that image."""
    with builder_of(layout, directory / "builder") as builder:
        yield builder


def test_both_ways_bring_the_whole_image(directory: Path, layout: Layout, builder: Builder) -> None:
    """Either way every blob comes to a host that had none of them; both parts of it take their time."""
    for way in (deploy_by_mirror, deploy_by_registry):
        took = way(builder, directory / way.__name__)
        assert min(took.push, took.start) > 0
        assert took.total == took.push + took.start
        host = Containerd(directory / way.__name__ / "containerd")
        for blob in layout.children:
            assert host.content(blob.digest) == layout.blob(blob.digest).read_bytes()


@pytest.mark.parametrize("way", [deploy_by_mirror, deploy_by_registry])
def test_a_container_that_does_something_else(directory: Path, way: Way) -> None:
    """A container has started when it has printed the very line, not when there is any answer of `ctr`."""
    layout = build_image(directory / "layout", [busybox("another\n")])
    with builder_of(layout, directory / "builder") as builder, pytest.raises(RuntimeError, match="another"):
        way(builder, directory / "deploy")


def test_rounds() -> None:
    """Every round gives a deploy of each way."""
    assert [len(deploys) for deploys in measure(SIZE, "gzip", 1).values()] == [1, 1]


def test_what_the_image_is_made_of(directory: Path) -> None:
    """Four layers, in whose files are the bytes that were asked for; the program and its greeting come on top."""
    layout = make_image(directory / "layout", SIZE, "gzip")
    layers = [_files(layout.blob(layer.digest)) for layer in layout.children[1:]]
    shares = [sum(file.size for file in files if file.name.startswith("srv/")) / SIZE for files in layers]
    assert shares == pytest.approx([0.2, 0.25, 0.45, 0.1])
    assert {"bin/busybox", "marker"} <= {file.name for file in layers[0]}


def test_text_and_noise() -> None:
    """Text compresses to a third, no matter how much of it a compressor remembers; noise does not compress."""
    for file, ratio in ((Text("text", 2 << 20), 1 / 3), (Noise("noise", 2 << 20), 1)):
        content = b"".join(file.chunks())
        assert len(content) == file.size
        for compressed in (zlib.compress(content), zstandard.compress(content)):
            assert len(compressed) / len(content) == pytest.approx(ratio, rel=0.2)


def test_each_text_is_another() -> None:
    """Files of one size have contents of their own: else layers would compress too well."""
    assert [*Text("one", 1000).chunks()] != [*Text("other", 1000).chunks()]


def _files(layer: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(layer) as tar:
        return tar.getmembers()
