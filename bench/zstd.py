"""What layers of zstd save, and what it costs to make them of layers of gzip.

The files are real ones: this machine's own shared libraries, and what Python and others have beside them. An image of
four layers of gzip, as builders pack them, is converted by the program that the daemon runs, at each level; then each
of the images is pulled from one docker-registry by a containerd that has nothing.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import mkdtemp

import msgspec

from bench import machine
from bench.measure import Figure, Usage, alternate, file_room, take_memory
from bench.report import Measure, Report, Spread, amount
from mirror.core.ports import Recompressed
from mirror.core.variants.manifests import variant
from mirror.core.variants.modes import Mode
from mirror.oci.manifest import parse_manifest
from mirror.oci.names import Digest
from tests.rig.containerd import Containerd
from tests.rig.images import Copied, Descriptor, Layer, Layout, build_image
from tests.rig.registry import Registry
from tests.rig.wire import Wire

_MB = 10**6
_MEMORY = 4
_PATIENCE = 600.0
_REPOSITORY = "bench"
# What compilers and interpreters come as: libraries first, as there is most of them.
_SOURCES = [Path("/usr/lib") / name for name in (f"{os.uname().machine}-linux-gnu", "python3", "python3.11", "gcc")]
_SHARES = (0.2, 0.25, 0.45, 0.1)  # of base, runtime, dependencies, application
_SHORT = 0.01
_LEVELS, _THREADS = (1, 3, 9), (1, 2)
_GZIP, _GZIP_LEVEL = "gzip", 6  # what docker, BuildKit and podman take, unless they are told
_EVERYTHING = 1 << 40


def make_image(directory: Path, size: int) -> Layout:
    """An image of so many bytes of real files, in layers of gzip. Raises RuntimeError: this machine has fewer."""
    files, layers = [*_files()], []
    for share in _SHARES:
        left, own, others = int(size * share), [], []
        for file in files:
            if file.size <= left:
                own.append(file)
                left -= file.size
            else:
                others.append(file)
        if left > size * _SHORT:
            raise RuntimeError(f"there are no {size} bytes below {', '.join(map(str, _SOURCES))}")
        files = others
        layers.append(Layer(own, "gzip", _GZIP_LEVEL))
    return build_image(directory, layers)


def _files() -> Iterator[Copied]:
    """Files of this machine's, with something in them."""
    for source in _SOURCES:
        for path in sorted(source.rglob("*")):
            if path.is_file() and not path.is_symlink() and path.stat().st_size:
                yield Copied(path)


def _convert(layout: Layout, level: int, threads: int, made: dict[Digest, Recompressed]) -> Figure:
    """Have every layer converted, one after the other; `made` is told what became of each."""
    manifest = parse_manifest(layout.manifest)
    diff_ids = json.loads(layout.blob(layout.children[0].digest).read_bytes())["rootfs"]["diff_ids"]
    with Usage({}) as usage:
        for layer, diff_id in zip(manifest.layers, diff_ids, strict=True):
            written = layout.directory / "partial"
            program = [sys.executable, "-P", "-m", "mirror.recompress.program", str(level), str(threads)]
            command = [*program, diff_id, str(_EVERYTHING)]
            with layout.blob(layer.digest).open("rb") as source, written.open("wb") as target:
                done = subprocess.run(command, stdin=source, stdout=target, stderr=subprocess.PIPE, check=True)
            made[layer.digest] = msgspec.json.decode(done.stderr, type=Recompressed)
            written.rename(layout.blob(made[layer.digest].digest))
    return usage.figure


def _variant(layout: Layout, made: Mapping[Digest, Recompressed]) -> Layout:
    """The image with other layers, whose blobs are beside the first ones."""
    found = variant(parse_manifest(layout.manifest), made, Mode.TAG_SUFFIX)
    layout.blob(found.digest).write_bytes(found.raw)
    children = [Descriptor(blob.media_type, blob.digest, blob.size) for blob in found.blobs]
    return Layout(layout.directory, "", Descriptor(found.media_type, found.digest, len(found.raw)), children)


def _pull(registry: Registry, tag: str, room: Path) -> Figure:
    """Have a new containerd in `room` pull an image, and unpack it."""
    with Containerd(Path(mkdtemp(dir=room))) as containerd:
        with Usage({"containerd": containerd, "registry": registry}) as usage:
            containerd.ctr("images", "pull", "--plain-http", f"{registry.host}/{_REPOSITORY}:{tag}", seconds=_PATIENCE)
        return usage.figure


def measure(megabytes: int, rounds: int, room: Path) -> tuple[list[Measure], str]:
    """Convert, and pull; says how fast it converts, too."""
    original = make_image(room / "image", megabytes * _MB)
    made: dict[int, dict[Digest, Recompressed]] = {level: {} for level in _LEVELS}
    ways = {
        f"{_level(level)}, {threads} thread{'s' if threads > 1 else ''}": partial(
            _convert, original, level, threads, made[level]
        )
        for level, threads in product(_LEVELS, _THREADS)
    }
    converting = alternate(ways, rounds)
    images = {_GZIP: original, **{_level(level): _variant(original, made[level]) for level in _LEVELS}}
    with Registry(room / "registry") as registry:
        for name, image in images.items():
            Wire(registry.url, patience=_PATIENCE).push(_REPOSITORY, _tag(name), image)
        pulls = alternate({name: partial(_pull, registry, _tag(name), room) for name in images}, rounds)
    sizes = {name: [sum(child.size for child in image.children) / _MB] * rounds for name, image in images.items()}
    usual = f"{_level(3)}, 2 threads"
    tables = [
        Measure("Size of the image", "MB", sizes, _GZIP),
        Measure.timed("Pull and unpack, by a containerd that has nothing", pulls, _GZIP),
        Measure.timed("Conversion of all layers", converting, usual),
    ]
    return tables, _speeds(converting, sum(each.uncompressed for each in made[_LEVELS[0]].values()), sizes[_GZIP][0])


def _speeds(converting: Mapping[str, Sequence[Figure]], inside: int, packed: float) -> str:
    """How fast each way converts, as a sentence."""
    speeds = {
        way: Spread.of([inside / _MB / figure.seconds for figure in figures]).median
        for way, figures in converting.items()
    }
    told = ", ".join(f"{amount(speed)} ({way})" for way, speed in speeds.items())
    sizes = f"The layers have {amount(packed)} MB, and {amount(inside / _MB)} MB inside"
    return f"{sizes}, of which so many are converted per second: {told}."


def _level(level: int) -> str:
    return f"zstd {level}"


def _tag(name: str) -> str:
    return name.replace(" ", "-")


def main(arguments: Sequence[str]) -> Report:
    """Convert and pull an image of real files."""
    parser = argparse.ArgumentParser(prog="python -m bench zstd")
    parser.add_argument("--megabytes", type=int, default=500, help="the size of the files in the image")
    parser.add_argument("--rounds", type=int, default=4)
    asked = parser.parse_args(arguments)
    take_memory(_MEMORY * asked.megabytes * _MB)
    with file_room() as room:
        measures, speeds = measure(asked.megabytes, asked.rounds, room)
    note = f"gzip of level {_GZIP_LEVEL}, which containerd expands itself unless `unpigz` is installed. {speeds}"
    return Report("zstd", "What zstd saves, and costs", machine.describe(), measures, [note])
