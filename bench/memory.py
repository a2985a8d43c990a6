"""How much memory the daemon needs for one large layer, and how long its push takes beside docker-registry's.

skopeo pushes the same image to both in turn; each is new for it. The daemon then finishes its work with the image.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import machine
from bench.measure import Figure, Usage, alternate, take_memory
from bench.report import Measure, Report
from tests.rig.clients import skopeo_push
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import Layer, Layout, Noise, build_image
from tests.rig.registry import Registry

_UPSTREAM = "registry.example.com"
_MIB = 1 << 20
_OURS, _PEER = "registry-mirror", "docker-registry"
# How much memory a push needs, in images: page cache above all.
_MEMORY = 4


@dataclass(frozen=True)
class Push:
    """What a push took, and the peak of the server's memory in bytes once it was done with the image."""

    figure: Figure
    peak_at_the_end: int


def measure(size: int, rounds: int, directory: Path) -> Mapping[str, Sequence[Push]]:
    """Push an image with one layer of `size` bytes to both, and let the daemon finish its work with it."""
    layout = build_image(directory / "layout", [Layer([Noise("noise", size)], "none")])
    return alternate({_OURS: partial(_push_to_daemon, layout), _PEER: partial(_push_to_peer, layout)}, rounds)


def _push_to_daemon(layout: Layout) -> Push:
    with (
        tempfile.TemporaryDirectory(prefix="mirror-") as directory,
        Containerd(Path(directory, "containerd")) as containerd,
        Registry(Path(directory, "upstream")) as upstream,
        Daemon(Path(directory, "daemon"), containerd.address, {_UPSTREAM: upstream.url}) as daemon,
    ):
        with Usage({"daemon": daemon, "containerd": containerd}) as usage:
            skopeo_push(layout, f"{daemon.host}/bench:v1")
        for goal in ("unpacked", "replicated"):
            daemon.wait("bench:v1", goal, seconds=600)
        return Push(usage.figure, daemon.peak_memory())


def _push_to_peer(layout: Layout) -> Push:
    with tempfile.TemporaryDirectory(prefix="mirror-") as directory, Registry(Path(directory)) as registry:
        with Usage({"registry": registry}) as usage:
            skopeo_push(layout, f"{registry.host}/bench:v1")
        return Push(usage.figure, registry.peak_memory())


def main(arguments: Sequence[str]) -> Report:
    """Push to both."""
    parser = argparse.ArgumentParser(prog="python -m bench memory")
    parser.add_argument("--mebibytes", type=int, default=2048, help="the size of the layer")
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args(arguments)
    size = asked.mebibytes * _MIB
    take_memory(_MEMORY * size)
    with tempfile.TemporaryDirectory(prefix="mirror-") as directory:
        pushes = measure(size, asked.rounds, Path(directory))
    what = f"one layer of {asked.mebibytes} MiB"
    seconds = Measure.timed(what, {way: [push.figure for push in took] for way, took in pushes.items()}, _OURS)
    peaks = {way: [push.peak_at_the_end / _MIB for push in took] for way, took in pushes.items()}
    done = Measure(f"{what}, peak memory when all is done with it", "MiB", peaks, _OURS)
    return Report("memory", "One large layer, pushed with skopeo", machine.describe(), [seconds, done])
