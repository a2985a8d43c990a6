"""The benchmarks run, and their clients do what the figures are about."""

from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import clients, deploy, flame, memory, pull, push, replication, restart, unpack, zstd
from bench.blobs import Blob, make_blobs, manifest_of, write_config
from bench.chart import draw
from bench.connection import Connection
from bench.report import Report
from mirror.http.inlet import LARGE
from tests.rig.containerd import Containerd
from tests.rig.registry import Registry
from tests.rig.wire import Wire, digest_of

SIZE = 3 << 20
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        (push.main, ["--share", "0.03"]),  # of less, the daemon's share would be less than a tick of the kernel's
        (pull.main, ["--megabytes", "1", "--readers", "1", "3"]),
        (restart.main, ["--images", "2"]),
        (memory.main, ["--mebibytes", "1"]),
        (replication.main, ["--mebibytes", "1"]),
        (deploy.main, ["--megabytes", "1"]),
        (unpack.main, ["--megabytes", "1"]),
        (zstd.main, ["--megabytes", "4"]),
    ],
)
def test_a_small_run(program: Callable[[Sequence[str]], Report], arguments: list[str]) -> None:
    """Every measure has a figure of each way for each round, and can be printed and drawn."""
    report = program([*arguments, "--rounds", "2"])
    for measure in report.measures:
        assert measure.ours in measure.ways
        for figures in measure.ways.values():
            assert len(figures) == 2
            assert min(figures) > 0
        assert f"## {measure.name}" in report.markdown()
    assert ET.fromstring(draw(report)).findall("{*}rect")  # noqa: S314 - our own


@pytest.mark.slow
def test_where_the_time_goes() -> None:
    """The functions that take a push are seen at work, and have a box in the drawing."""
    seen = flame.profile(push.SHAPES["small"].smaller(0.1))
    names = [title.text or "" for title in ET.fromstring(flame.draw(seen, "A push")).iter(f"{SVG}title")]  # noqa: S314 - our own
    assert names[0] == "A push"
    for function in ("UploadHandlers.put (mirror/http/uploads.py)", "_commit_waiting (mirror/journal/db.py)"):
        assert any(function in name for name in names), function


def test_the_time_of_threads() -> None:
    """It is divided among what they were seen doing, and waiting is nothing that takes time."""
    waiting = "run;_worker (concurrent/futures/thread.py)"
    stacks = [
        "thread (1): a;run;hash 3",
        "thread (1): a;run;write 1",
        f"thread (1): a;{waiting} 90",
        "thread (2): b;c 50",
    ]
    stacks += ["thread (3): c;run 7", "thread (4): d 9"]
    took = {1: 800, 2: 100, 5: 1}
    assert [*flame.weighed(stacks, took)] == ["run;hash 600", "run;write 200", "c 100", "run 0"]
    assert [*flame.weighed([f"thread (1): a;{waiting} 90"], took)] == [f"{waiting} 800"]


def test_boxes() -> None:
    """A function was seen as often as all that it called, and what it did itself; what is too small is left out."""
    root = flame.Box.of(["a;b 8", "a;c 1", "a 3", "d 3988"])
    assert (root.seen, root.called["a"].seen, root.called["a"].called["b"].seen, root.depth) == (4000, 12, 8, 2)
    drawing = ET.fromstring(flame.draw(root, "T"))  # noqa: S314 - our own
    assert [title.text for title in drawing.iter(f"{SVG}title")] == ["T", "a: 0.3%", "b: 0.2%", "d: 99.7%"]
    assert [text.text for text in drawing.iter(f"{SVG}text")] == ["T", "d"]  # the others have no room for a name


def test_smaller_shapes() -> None:
    """Many blobs become fewer, few become smaller; none vanishes."""
    one, many = push.SHAPES["one"], push.SHAPES["many"]
    assert (one.smaller(0.5).count, one.smaller(0.5).size) == (1, one.size // 2)
    assert (many.smaller(0.5).count, many.smaller(0.5).size) == (100, many.size)
    assert many.smaller(1e-9).count == one.smaller(1e-12).size == 1
    assert [one.name, many.smaller(0.5).name] == ["1 x 1 GiB, 1 at once", "100 x 1 MiB, 8 at once"]


@pytest.mark.parametrize("at_once", [1, 2, 8])
def test_the_pusher_pushes(directory: Path, registry: Registry, at_once: int) -> None:
    """Every byte of every blob, over however many connections."""
    blobs = [*make_blobs(directory / "large", 2, SIZE), *make_blobs(directory / "small", 3, 10)]
    clients.push(registry.host, "bench", blobs, at_once)
    for blob in blobs:
        content = blob.path.read_bytes()
        assert len(content) == blob.size
        assert blob.digest == digest_of(content)
        assert registry.blob("bench", blob.digest) == content


def test_the_pusher_goes_on(directory: Path, containerd: Containerd) -> None:
    """A server that ends the connection after a large blob gets the next one over another."""
    blobs = make_blobs(directory / "blobs", 2, LARGE)
    with push.daemon_on(containerd, push.DIRECT, directory / "daemon") as daemon:
        clients.push(daemon.host, "bench", blobs, 1)
    assert {blob.digest for blob in blobs} <= containerd.contents()


def test_the_pusher_fails(directory: Path, registry: Registry) -> None:
    """A push that is refused is no figure."""
    [blob] = make_blobs(directory / "blobs", 1, SIZE)
    with pytest.raises(RuntimeError, match="DIGEST_INVALID"):
        clients.push(registry.host, "bench", [Blob(blob.path, digest_of(b"another"), SIZE)], 1)


def test_the_reader_reads(directory: Path, registry: Registry) -> None:
    """All that the manifest names is asked for and comes; when a part is missing, or has another size, it fails."""
    [layer], config = make_blobs(directory / "blobs", 1, SIZE), write_config(directory)
    clients.push(registry.host, "bench", [layer, config], 1)
    for tag, size in (("right", SIZE), ("wrong", SIZE + 1)):
        named = manifest_of(config, [Blob(layer.path, layer.digest, size)])
        assert Wire(registry.url).push_manifest("bench", tag, named).status == 201
    clients.read(registry.host, "bench", "right", 3)
    with pytest.raises(RuntimeError, match=f"{SIZE} bytes of"):
        clients.read(registry.host, "bench", "wrong", 1)
    with pytest.raises(RuntimeError, match="MANIFEST_UNKNOWN"):
        clients.read(registry.host, "bench", "missing", 1)


def test_a_body(directory: Path, registry: Registry) -> None:
    """It can be kept, or counted as it goes by; the connection serves on after either."""
    [blob] = make_blobs(directory / "blobs", 1, SIZE)
    clients.push(registry.host, "bench", [blob], 1)
    path = f"/v2/bench/blobs/{blob.digest}"
    with Connection(registry.host) as connection:
        assert connection.drain(path) == SIZE
        assert connection.get(path) == blob.path.read_bytes()
        assert connection.drain(path) == SIZE
