"""How long containerd alone unpacks an image that it has: no way of deploying it can be faster than that.

A layer of gzip is expanded by `unpigz` where that is installed, and else by containerd itself. Both are measured, and
layers of zstd and of plain tar beside them: what those still take is files that are made, and their bytes hashed.
"""

import argparse
import os
import shutil
from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import mkdtemp
from typing import get_args

from bench import machine
from bench.image import NAME, Shape, make_image
from bench.measure import Figure, Usage, alternate, file_room, take_memory
from bench.report import Measure, Report
from tests.rig.containerd import Containerd
from tests.rig.images import Compression, Layout

_MB = 10**6
_MEMORY = 4
_PATIENCE = 600.0
_ITSELF = "gzip, containerd itself"


class _Alone(Containerd):
    """A containerd that does not look for `unpigz`."""

    def command(self) -> list[str]:
        """Start it with the setting for that."""
        return ["env", "CONTAINERD_DISABLE_PIGZ=1", *super().command()]


def _unpack(layout: Layout, room: Path, kind: type[Containerd] = Containerd) -> Figure:
    """Have a new containerd in `room` unpack an image."""
    with kind(Path(mkdtemp(dir=room))) as containerd:
        containerd.import_layout(layout.directory, NAME)
        os.sync()
        with Usage({"containerd": containerd}) as usage:
            containerd.ctr("snapshots", "unpack", layout.digest, seconds=_PATIENCE)
        return usage.figure


def measure(shape: Shape, megabytes: int, rounds: int) -> Measure:
    """Unpack an image of a shape and a size, as it may be packed."""
    take_memory(_MEMORY * megabytes * _MB)
    with file_room() as room:
        packed: dict[Compression, Layout] = {
            compression: make_image(room / compression, megabytes * _MB, compression, shape=shape)
            for compression in get_args(Compression)
        }
        ways = {
            _ITSELF: partial(_unpack, packed["gzip"], room, _Alone),
            **({"gzip, unpigz": partial(_unpack, packed["gzip"], room)} if shutil.which("unpigz") else {}),
            "zstd": partial(_unpack, packed["zstd"], room),
            "plain tar": partial(_unpack, packed["none"], room),
        }
        return Measure.timed(f"{megabytes} MB of {shape}", alternate(ways, rounds), _ITSELF)


def main(arguments: Sequence[str]) -> Report:
    """Unpack images of each shape and size."""
    parser = argparse.ArgumentParser(prog="python -m bench unpack")
    parser.add_argument("--shapes", nargs="+", choices=get_args(Shape), default=get_args(Shape))
    parser.add_argument("--megabytes", type=int, nargs="+", default=[500], help="sizes of unpacked images")
    parser.add_argument("--rounds", type=int, default=4)
    asked = parser.parse_args(arguments)
    found = [measure(shape, size, asked.rounds) for shape, size in product(asked.shapes, asked.megabytes)]
    return Report("unpack", "What containerd takes to unpack", machine.describe(), found)
