"""`registry-mirror inspect`: what an image is made of, here and upstream."""

import gzip
import json
import random
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import zstandard

from mirror.cli.measured import SAMPLE
from tests.conftest import UPSTREAM
from tests.rig.clients import skopeo_push
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.faults import CutAnswer, Fault, Reply
from tests.rig.images import ARCHITECTURE, File, Layer, Packed, Platform, build_image, build_index, busybox
from tests.rig.proxy import Proxy
from tests.rig.registry import Registry

NAME = f"{UPSTREAM}/team/app:v1"
MIB = 1 << 20

# Half of it compresses well, and half not at all, wherever a sample of it ends.
_SOURCE = random.Random(0)  # noqa: S311 - it must repeat itself
MIXED = b"".join(_SOURCE.randbytes(1 << 16) + b"%d some text\n" % number * 5000 for number in range(200))
FRAMES = b"\x50\x2a\x4d\x18\x03\0\0\0abc".join(
    zstandard.compress(MIXED[start : start + MIB]) for start in range(0, len(MIXED), MIB)
)
SMALL = MIXED[:MIB]


def test_an_image(daemon: Daemon, registry: Registry, directory: Path) -> None:
    """Its layers with their sizes and compressions, for people and programs; the same upstream once it is there."""
    layers = [busybox("a"), Layer([File("b", b"b")], "zstd"), Layer([File("c", b"c")], "none")]
    layout = build_image(directory / "layout", layers)
    skopeo_push(layout, f"{daemon.host}/team/app:v1")
    said = json.loads(daemon.cli("inspect", "team/app:v1", "--json").stdout)
    assert (said["image"], said["digest"]) == (NAME, layout.digest)
    assert [layer["compression"] for layer in said["layers"]] == ["gzip", "zstd", "none"]
    assert [layer["bytes"] for layer in said["layers"]] == [child.size for child in layout.children[1:]]
    assert said["config"]["architecture"] == ARCHITECTURE
    lines = daemon.cli("inspect", NAME).stdout.splitlines()
    assert f"platform:   linux/{ARCHITECTURE}" in lines
    assert [line.split()[3] for line in lines if re.match(r"^\d", line)] == ["gzip", "zstd", "none"]
    daemon.wait(NAME, "replicated")
    assert json.loads(daemon.cli("inspect", NAME, "--upstream", "--json").stdout) == said
    registry.kill()
    away = daemon.cli("inspect", NAME, "--upstream")
    assert (away.returncode, away.stderr.count("\n"), "connect" in away.stderr.lower()) == (1, 1, True), away


def _zstd(data: bytes, level: int) -> int:
    """How many bytes zstd makes of these, piece by piece, with a checksum."""
    stream = zstandard.ZstdCompressor(level=level, write_checksum=True).compressobj()
    return len(stream.compress(data) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) + stream.flush())


def _bomb() -> bytes:
    stream = zstandard.ZstdCompressor().compressobj()
    return b"".join(stream.compress(bytes(MIB)) for _ in range(600)) + stream.flush()


CONTENTS = {
    "gzip": Packed(gzip.compress(SMALL)),
    "none": Packed(SMALL[:-1], "none"),
    "large": Packed(gzip.compress(MIXED, 1)),
    "frames": Packed(FRAMES, "zstd"),
    "odd": Packed(zstandard.compress(SMALL)),
    "cut off": Packed(gzip.compress(SMALL)[:-100]),
    "damaged": Packed(gzip.compress(SMALL)[:-8] + bytes(8)),
    "bomb": Packed(_bomb(), "zstd"),
    "empty": Packed(b"", "none"),
}
SIZES = {name: len(layer.data) for name, layer in CONTENTS.items()}
KNOWN = ["gzip", "none", "large", "frames", "odd", "empty"]


@dataclass(frozen=True)
class Pushed:
    """An image of these contents, of which the first comes once more at the end: here, and upstream."""

    daemon: Daemon
    upstream: Proxy

    def inspect(self, *options: str) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
        """What is said of each layer, and of all together."""
        said = json.loads(self.daemon.cli("inspect", NAME, "--json", *options).stdout)
        assert said["layers"][-1] == said["layers"][0]
        return dict(zip(CONTENTS, said["layers"][:-1], strict=True)), said["total"]


@pytest.fixture(scope="module")
def pushed(scratch: Path, containerd: Containerd) -> Iterator[Pushed]:
    directory = Path(tempfile.mkdtemp(dir=scratch))
    layout = build_image(directory / "layout", [*CONTENTS.values(), CONTENTS["gzip"]])
    (directory / "upstream").mkdir()
    with (
        Registry(directory / "upstream") as registry,
        Proxy(registry.host) as proxy,
        Daemon(directory / "daemon", containerd.address, {UPSTREAM: proxy.url}) as daemon,
    ):
        skopeo_push(layout, f"{daemon.host}/team/app:v1")
        daemon.wait(NAME, "replicated")
        yield Pushed(daemon, proxy)
        assert not daemon.complaints()


def test_all_of_it(pushed: Pushed) -> None:
    """Every figure is the one that gzip and zstd come to, and bad layers are named and not counted."""
    layers, total = pushed.inspect("--exact", "--level", "9")
    inside = {"gzip": SMALL, "none": SMALL[:-1], "large": MIXED, "frames": MIXED, "odd": SMALL, "empty": b""}
    zstd = {name: _zstd(inside[name], 9) for name in ("gzip", "none", "large", "empty")}
    for name in KNOWN:
        layer, packed = layers[name], zstd.get(name)
        assert (layer["bytes"], layer["uncompressed_bytes"]) == (SIZES[name], len(inside[name]))
        assert layer["ratio"] == (len(inside[name]) / SIZES[name] if SIZES[name] else None)
        assert (layer["zstd_bytes"], layer["exact"]) == (packed, True)
        assert layer["gain"] == (1 - packed / SIZES[name] if packed and SIZES[name] else None)
    assert {name: layer["note"] for name, layer in layers.items() if layer["note"]} == {
        "odd": "media type says gzip",
        "cut off": "gzip: it is cut off",
        "damaged": layers["damaged"]["note"],
        "bomb": "more than 512 MiB inside",
    }
    assert layers["damaged"]["note"].startswith("gzip: CRC")
    assert all(layers[name]["uncompressed_bytes"] is None for name in CONTENTS if name not in KNOWN)
    how = ["gzip", "none", "gzip", "zstd", "zstd", "gzip", "gzip", "zstd", "none"]
    assert [layer["compression"] for layer in layers.values()] == how
    size = sum(SIZES[name] for name in KNOWN)
    gained = 1 - sum(zstd.get(name, SIZES[name]) for name in KNOWN) / size
    assert (total["bytes"], total["uncompressed_bytes"]) == (size, sum(map(len, inside.values())))
    assert (total["gain"], total["exact"], total["level"]) == (pytest.approx(gained), True, 9)


def test_a_sample(pushed: Pushed) -> None:
    """Only the beginning of a large layer is asked for, and what it comes to is near the truth and marked."""
    layers, total = pushed.inspect("--upstream")
    large, frames = layers["large"], layers["frames"]
    assert min(SIZES["large"], SIZES["frames"]) > SAMPLE
    for layer in (large, frames):
        *_, request = pushed.upstream.seen("GET", layer["digest"])
        assert request.headers["Range"] == f"bytes=0-{SAMPLE - 1}"
        assert (layer["uncompressed_bytes"], layer["exact"]) == (pytest.approx(len(MIXED), rel=0.02), False)
    assert large["gain"] == pytest.approx(1 - _zstd(MIXED, 3) / SIZES["large"], abs=0.02)
    small = layers["gzip"]
    assert (small["zstd_bytes"], small["exact"]) == (_zstd(SMALL, 3), True)
    assert total["exact"] is False
    assert layers == pushed.inspect()[0]
    lines = pushed.daemon.cli("inspect", NAME).stdout.splitlines()
    rows = {name: next(line for line in lines if layer["digest"] in line) for name, layer in layers.items()}
    assert re.search(rf"gzip +~2[45].* MiB +~{large['ratio']:.2f} +~{large['gain']:.0%} +sha256", rows["large"])
    assert re.search(rf"gzip +1 MiB +{small['ratio']:.2f} +{small['gain']:.0%} +sha256", rows["gzip"])
    assert re.search(r"gzip +- +- +- +sha256.*\(gzip: it is cut off\)$", rows["cut off"])
    assert any(re.search(r"^layers: .*~.* level 3; 3 of 10 are not counted$", line) for line in lines)


def test_an_upstream_at_its_worst(pushed: Pushed) -> None:
    """One that sends all of a layer comes to the same; what breaks off, or is gone, is not said to be damaged."""
    layers, _ = pushed.inspect()
    faults: dict[str, Fault] = {
        "large": Reply(200, body=CONTENTS["large"].data),
        "gzip": CutAnswer(100_000),
        "none": Reply(404),
    }
    for name, fault in faults.items():
        pushed.upstream.arm(fault, "GET", layers[name]["digest"])
    worse, total = pushed.inspect("--upstream")
    assert worse["large"] == layers["large"]
    assert [worse[name]["uncompressed_bytes"] for name in ("gzip", "none")] == [None, None]
    assert worse["gzip"]["note"].startswith(f"GET {pushed.upstream.url}/")
    assert worse["none"]["note"] == "not there"
    assert total["bytes"] == sum(SIZES[name] for name in KNOWN if name not in {"gzip", "none"})


def test_an_index(daemon: Daemon, directory: Path) -> None:
    """The images that it lists, each of which can be asked for."""
    layout = build_index(directory / "index", {Platform(): [busybox("a")], Platform("riscv64"): [busybox("b")]})
    skopeo_push(layout, f"{daemon.host}/team/app:v1", "--all")
    said = json.loads(daemon.cli("inspect", "team/app:v1", "--json").stdout)
    assert [each["platform"] for each in said["manifests"]] == [f"linux/{ARCHITECTURE}", "linux/riscv64"]
    assert (said["layers"], said["config"]) == ([], None)
    assert "linux/riscv64" in daemon.cli("inspect", "team/app:v1").stdout
    one = said["manifests"][1]["digest"]
    assert json.loads(daemon.cli("inspect", f"team/app@{one}", "--json").stdout)["config"]["architecture"] == "riscv64"


def test_what_is_not_there(daemon: Daemon) -> None:
    """A line that says so, and exit code 1; likewise when no daemon answers."""
    for arguments in (["team/none:v1"], ["team/none:v1", "--upstream"], ["NO NAME"], ["team/app@sha256:0"]):
        done = daemon.cli("inspect", *arguments)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done
    daemon.stop()
    done = daemon.cli("inspect", "team/app:v1")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done
