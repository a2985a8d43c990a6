"""How soon a container runs from an image that is pushed to the daemon, beside the way over a registry.

Everything is on this machine, and shares its processors: the registry, which would really be further away, and the
replication to it, which goes on meanwhile. An image is deployed to a host that has nothing of it, then another one of
which a layer is new, then that again.
"""

import argparse
from collections.abc import Iterator, Sequence

from bench import machine
from bench.deploying import OURS, PUSHED, THEIRS, builder_of, compare, measures
from bench.image import make_releases
from bench.measure import file_room, take_memory
from bench.report import Faster, Measure, Report
from tests.rig.images import Compression
from tests.rig.registry import Registry

_MB = 10**6
# How much memory a deploy needs, in images: page cache above all.
_MEMORY = 4
_TARGET = Faster(3, THEIRS, OURS)
_TARGET_SIZE = 500


def deploys(megabytes: int, compression: Compression, rounds: int) -> Iterator[Measure]:
    """Deploy images of a size and a compression in both ways."""
    take_memory(_MEMORY * megabytes * _MB)
    with file_room() as room:
        layouts = make_releases(room, megabytes * _MB, compression)
        with builder_of(layouts, room / "builder") as builder:
            taken = compare(builder, Registry, room, rounds)
    targets = [_TARGET] if megabytes == _TARGET_SIZE else []
    return measures(f"{megabytes} MB, {compression}", taken, PUSHED, targets)


def main(arguments: Sequence[str]) -> Report:
    """Deploy images of each size and compression."""
    parser = argparse.ArgumentParser(prog="python -m bench deploy")
    parser.add_argument("--megabytes", type=int, nargs="+", default=[10, 500, 2000], help="sizes of unpacked images")
    parser.add_argument("--compressions", nargs="+", choices=["gzip", "zstd"], default=["gzip", "zstd"])
    parser.add_argument("--rounds", type=int, default=4)
    asked = parser.parse_args(arguments)
    found = [
        measure
        for megabytes in asked.megabytes
        for compression in asked.compressions
        for measure in deploys(megabytes, compression, asked.rounds)
    ]
    return Report("deploy", "From the first byte of a push to a container's first line", machine.describe(), found)
