"""How fast images get from the daemon to their upstream, beside `skopeo copy` and `ctr images push`.

The images are of several layers, and of one. An image is here as a whole before the clock starts, and the upstream
hangs until then, so that neither the push nor a retry is measured.
skopeo takes the layers of a layout one after another, so stream against stream are the figures of one layer.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Self

from bench import machine
from bench.measure import Figure, Usage, alternate
from bench.report import Measure, Report
from tests.rig.clients import skopeo_push
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import Layer, Layout, Noise, Platform, build_image
from tests.rig.registry import Registry
from tests.rig.sse import listening

_UPSTREAM = "registry.example.com"
_MIB = 1 << 20
OURS = "registry-mirror"
_SMALL = [1 << 10, 20 << 10, 400 << 10]
# An image for another machine is not unpacked: that would be measured, too.
_ELSEWHERE = Platform(architecture="s390x")
_PLATFORM = "linux/s390x"
_PATIENCE = 3600.0
# The upstream hangs for as long as a push takes.
_PATIENT: dict[str, object] = {"stall": 600.0}


@dataclass(frozen=True)
class HeadStart:
    """The share of an image's bytes that is upstream when its push is acknowledged, and the seconds until all are."""

    share: float
    seconds: float


class Bench:
    """A daemon, its containerd, its upstream and another client in `directory`.

    With `eager` blobs are sent before their manifest. An `upstream` of the caller's is started here, too.
    """

    def __init__(self, directory: Path, *, eager: bool, upstream: Registry | None = None) -> None:
        self._directory = directory
        self._containerd = Containerd(directory / "containerd")
        self._client = Containerd(directory / "client")
        self.upstream = upstream or Registry(directory / "upstream")
        self.daemon = Daemon(
            directory / "daemon",
            self._containerd.address,
            {_UPSTREAM: self.upstream.url},
            settings={"replication": {**_PATIENT, "eager": eager}},
        )
        self._running = ExitStack()

    def __enter__(self) -> Self:
        """Start them."""
        with ExitStack() as running:
            for part in (self._containerd, self._client, self.upstream, self.daemon):
                running.enter_context(part)
            self._running = running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop them."""
        self._running.close()

    def image(self, name: str, sizes: Sequence[int]) -> Layout:
        """An image with layers of these sizes, and with content that no other image of any run has."""
        unique = f"{self._directory.name}-{name}"
        layers = [Layer([Noise(f"{unique}-{place}", size)], "none") for place, size in enumerate(sizes)]
        return build_image(self._directory / name, layers, target=_ELSEWHERE)

    def replicate(self, layout: Layout, name: str) -> Figure:
        """Push an image and let it go upstream only then: what the way there takes."""
        self.upstream.pause()
        skopeo_push(layout, f"{self.daemon.host}/{name}:v1")
        with Usage({"daemon": self.daemon, "containerd": self._containerd}) as usage:
            seconds = self._replicated(name)
        return replace(usage.figure, seconds=seconds)

    def _replicated(self, name: str) -> float:
        """Let the upstream go on and wait; returns the seconds until the log says that the image is there.

        Events are told a moment later, and polling would take processor time from what is measured.
        """
        path = f"/events?image={_UPSTREAM}/{name}:v1"
        with listening(self.daemon.directory / "admin.sock", path) as events:
            began = time.time()
            self.upstream.resume()
            if [event.data["phase"] for event in events][-1] != "replicated":
                raise RuntimeError(f"{name} was not replicated\n{self.daemon.log_tail()}")
        return self._finished(f"{_UPSTREAM}/{name}:v1") - began

    def _finished(self, image: str) -> float:
        """When an image was upstream, as Unix time."""
        ends = [line for line in self.daemon.log_lines() if line["event"] == "task.finished"]
        [end] = [line for line in ends if (line["kind"], line["image"]) == ("replicate", image)]
        return datetime.fromisoformat(end["timestamp"]).timestamp()

    def copy(self, layout: Layout, name: str) -> Figure:
        """Copy an image to the upstream with skopeo."""
        with Usage({}) as usage:
            skopeo_push(layout, f"{self.upstream.host}/{name}:v1")
        return usage.figure

    def push(self, layout: Layout, name: str) -> Figure:
        """Push an image to the upstream from a containerd that has it."""
        self._client.import_layout(layout.directory, f"{self.upstream.host}/{name}")
        os.sync()
        with Usage({"containerd": self._client}) as usage:
            image = f"{self.upstream.host}/{name}:v1"
            self._client.ctr("images", "push", "--plain-http", "--platform", _PLATFORM, image, seconds=_PATIENCE)
        return usage.figure

    def head_start(self, layout: Layout, name: str) -> HeadStart:
        """Push an image, see how much of it is upstream already, and wait for the rest."""
        skopeo_push(layout, f"{self.daemon.host}/{name}:v1")
        self.upstream.pause()
        share = self._stored() / sum(blob.size for blob in (layout.top, *layout.children))
        return HeadStart(share, self._replicated(name))

    def _stored(self) -> int:
        """How many bytes the upstream has of blobs, uploads under way included."""
        return sum(file.stat().st_size for file in self.upstream.directory.rglob("data") if file.is_file())


def measure(sizes: Sequence[int], rounds: int, directory: Path) -> Mapping[str, Sequence[Figure]]:
    """Bring images with layers of these sizes upstream both ways, in alternating order."""
    with Bench(directory, eager=False) as bench:
        return compare(bench, sizes, rounds)


def compare(
    bench: Bench, sizes: Sequence[int], rounds: int, others: Mapping[str, Callable[[], Figure]] | None = None
) -> Mapping[str, Sequence[Figure]]:
    """The same on servers that run; the `others` take their turns, too."""
    ways = {OURS: bench.replicate, "skopeo copy": bench.copy, "ctr images push": bench.push}
    images = count()
    bringing = {name: partial(_bring, bench, way, sizes, images) for name, way in ways.items()}
    return alternate({**bringing, **(others or {})}, rounds)


def _bring(bench: Bench, way: Callable[[Layout, str], Figure], sizes: Sequence[int], images: Iterator[int]) -> Figure:
    name = f"image-{next(images)}"
    layout = bench.image(name, sizes)
    os.sync()
    try:
        return way(layout, name)
    finally:
        shutil.rmtree(layout.directory)


def measure_head_start(sizes: Sequence[int], directory: Path) -> HeadStart:
    """Push an image with layers of these sizes to a daemon that sends blobs as soon as they are here."""
    with Bench(directory, eager=True) as bench:
        return bench.head_start(bench.image("image", sizes), "image")


def main(arguments: Sequence[str]) -> Report:
    """Replicate images of either shape."""
    parser = argparse.ArgumentParser(prog="python -m bench replication")
    parser.add_argument("--mebibytes", type=int, default=384, help="the size of an image")
    parser.add_argument("--rounds", type=int, default=6)
    asked = parser.parse_args(arguments)
    size = asked.mebibytes * _MIB
    shapes = {"six layers and small ones": [size // 6] * 6 + _SMALL, "one layer": [size]}
    measures, notes = [], []
    for what, sizes in shapes.items():
        with tempfile.TemporaryDirectory(prefix="mirror-") as directory:
            figures = measure(sizes, asked.rounds, Path(directory))
        measures.append(Measure.timed(f"{asked.mebibytes} MiB in {what}", figures, OURS))
        with tempfile.TemporaryDirectory(prefix="mirror-") as directory:
            ahead = measure_head_start(sizes, Path(directory))
        notes.append(
            f"Eager, {what}: {ahead.share:.0%} is upstream when the push returns, all {ahead.seconds:.2f} s later."
        )
    return Report("replication", "From the daemon to its upstream", machine.describe(), measures, notes)
