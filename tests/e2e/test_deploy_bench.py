"""What the benchmark of deploys measures is what it says."""

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from bench.deploying import OURS, STEPS, THEIRS, WAYS, Builder, Way, builder_of
from bench.image import FIRST, SECOND, make_image, make_releases
from tests.rig.images import Compression, Layout, Noise, Text, build_image, busybox
from tests.rig.registry import Registry

SIZE = 2 * 10**6


@pytest.fixture(params=["gzip", "zstd"])
def layouts(directory: Path, request: pytest.FixtureRequest) -> list[Layout]:
    """Images as they are deployed, but small."""
    compression: Compression = request.param
    return make_releases(directory, SIZE, compression)


@pytest.fixture
def builder(directory: Path, layouts: list[Layout]) -> Iterator[Builder]:
    """What pushes those images."""
    with builder_of(layouts, directory / "builder") as builder:
        yield builder


@pytest.fixture(params=[OURS, THEIRS])
def way(directory: Path, registry: Registry, request: pytest.FixtureRequest) -> Iterator[Way]:
    """Each of the ways, with a registry of its own."""
    with WAYS[request.param](directory, registry) as way:
        yield way


def test_every_step_brings_its_image(way: Way, registry: Registry, layouts: list[Layout], builder: Builder) -> None:
    """What is pushed gets to the host and the registry, every blob of it; the push is a part of the whole time."""
    for release in STEPS.values():
        took = way.deploy(builder, release)
        assert 0 < took.push < took.figure.seconds
        assert took.push <= took.stored
        layout = layouts[[FIRST, SECOND].index(release)]
        stored = registry.manifest("bench", release.tag)
        assert stored is not None
        assert stored.digest == layout.digest
        for blob in layout.children:
            assert way.host.content(blob.digest) == layout.blob(blob.digest).read_bytes()


def test_a_container_that_does_something_else(directory: Path, way: Way) -> None:
    """A container has started when it has printed the very line, not when there is any answer of `ctr`."""
    layout = build_image(directory / "layout", [busybox("another\n")])
    with builder_of([layout], directory / "builder") as builder, pytest.raises(RuntimeError, match="another"):
        way.deploy(builder, FIRST)


def test_what_the_image_is_made_of(directory: Path) -> None:
    """Four layers, in whose files are the bytes that were asked for; the program and its greeting come on top."""
    layout = make_image(directory / "layout", SIZE, "gzip")
    layers = [_files(layout.blob(layer.digest)) for layer in layout.children[1:]]
    shares = [sum(file.size for file in files if file.name.startswith("srv/")) / SIZE for files in layers]
    assert shares == pytest.approx([0.2, 0.25, 0.45, 0.1])
    assert "bin/busybox" in {file.name for file in layers[0]}
    assert "marker" in {file.name for file in layers[-1]}


def test_weights(directory: Path) -> None:
    """The same layers, each with one large file."""
    layout = make_image(directory / "layout", SIZE, "gzip", shape="weights")
    for layer, share in zip(layout.children[1:], [0.2, 0.25, 0.45, 0.1], strict=True):
        [file] = [file for file in _files(layout.blob(layer.digest)) if file.name.startswith("srv/")]
        assert file.size == SIZE * share


def test_one_layer_changed(layouts: list[Layout]) -> None:
    """The second release has a configuration and a layer of its own, and the other layers of the first."""
    first, second = ([blob.digest for blob in layout.children] for layout in layouts)
    assert [ours == theirs for ours, theirs in zip(first, second, strict=True)] == [False, True, True, True, False]


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
