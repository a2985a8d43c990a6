"""How fast images get from the daemon to their upstream, beside `skopeo copy` of the same image to the same registry.

`python -m bench.replication [MiB [rounds]]` makes images of that size: of several layers, and of one. An image is here
as a whole before the clock starts, and the upstream hangs until then, so that neither the push nor a retry is measured.
skopeo takes the layers of a layout one after another, so stream against stream are the figures of one layer.
"""

import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from tests.rig.clients import skopeo_push
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import Layer, Layout, Noise, Platform, build_image
from tests.rig.registry import Registry
from tests.rig.sse import listening

_UPSTREAM = "registry.example.com"
_MIB = 1 << 20
_SMALL = [1 << 10, 20 << 10, 400 << 10]
# An image for another machine is not unpacked: that would be measured, too.
_ELSEWHERE = Platform(architecture="s390x")
# The upstream hangs for as long as a push takes.
_PATIENT: dict[str, object] = {"stall": 600.0}


@dataclass(frozen=True)
class Cost:
    """What a copy took: seconds, and seconds of processor time; the daemon's with that of its containerd."""

    seconds: float
    processor: float


@dataclass(frozen=True)
class Pair:
    """What both took for the same image."""

    daemon: Cost
    skopeo: Cost

    @property
    def speed(self) -> float:
        """The daemon's throughput, in skopeo's."""
        return self.skopeo.seconds / self.daemon.seconds


@dataclass(frozen=True)
class Result:
    """Of each round a pair, and the peak of the daemon's memory until its end, in bytes."""

    pairs: Sequence[Pair]
    peaks: Sequence[int]


@dataclass(frozen=True)
class HeadStart:
    """The share of an image's bytes that is upstream when its push is acknowledged, and the seconds until all are."""

    share: float
    seconds: float


class Bench:
    """A daemon, its containerd and its upstream in `directory`; with `eager` blobs are sent before their manifest."""

    def __init__(self, directory: Path, *, eager: bool) -> None:
        self._directory = directory
        self._containerd = Containerd(directory / "containerd")
        self.upstream = Registry(directory / "upstream")
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
            for part in (self._containerd, self.upstream, self.daemon):
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

    def replicate(self, layout: Layout, name: str) -> Cost:
        """Push an image and let it go upstream only then: what the way there takes."""
        self.upstream.pause()
        skopeo_push(layout, f"{self.daemon.host}/{name}:v1")
        before = self._processor()
        return Cost(self._replicated(name), self._processor() - before)

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

    def _processor(self) -> float:
        """Seconds of processor time of the daemon and its containerd so far."""
        return self.daemon.processor_time() + self._containerd.processor_time()

    def copy(self, layout: Layout, name: str) -> Cost:
        """Copy an image to the upstream with skopeo."""
        began, before = time.monotonic(), _processor_of_children()
        skopeo_push(layout, f"{self.upstream.host}/{name}:v1")
        return Cost(time.monotonic() - began, _processor_of_children() - before)

    def head_start(self, layout: Layout, name: str) -> HeadStart:
        """Push an image, see how much of it is upstream already, and wait for the rest."""
        skopeo_push(layout, f"{self.daemon.host}/{name}:v1")
        self.upstream.pause()
        share = self._stored() / sum(blob.size for blob in layout.children)
        return HeadStart(share, self._replicated(name))

    def _stored(self) -> int:
        """How many bytes the upstream has of blobs, uploads under way included."""
        return sum(file.stat().st_size for file in self.upstream.directory.rglob("data") if file.is_file())


def _processor_of_children() -> float:
    """Seconds of processor time of the programs that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def measure(sizes: Sequence[int], rounds: int, directory: Path) -> Result:
    """Bring images with layers of these sizes upstream both ways, in alternating order."""
    pairs: list[Pair] = []
    peaks: list[int] = []
    with Bench(directory, eager=False) as bench:
        for number in range(rounds):
            pairs.append(_pair(bench, number, sizes))
            peaks.append(bench.daemon.peak_memory())
    return Result(pairs, peaks)


def _pair(bench: Bench, number: int, sizes: Sequence[int]) -> Pair:
    layout = bench.image(f"round-{number}", sizes)
    ways = [bench.replicate, bench.copy]
    first = number % 2
    costs = {way: ways[way](layout, f"{way}-{number}") for way in (first, 1 - first)}
    shutil.rmtree(layout.directory)
    return Pair(costs[0], costs[1])


def measure_head_start(sizes: Sequence[int], directory: Path) -> HeadStart:
    """Push an image with layers of these sizes to a daemon that sends blobs as soon as they are here."""
    with Bench(directory, eager=True) as bench:
        return bench.head_start(bench.image("image", sizes), "image")


def _report(what: str, size: int, result: Result) -> None:
    print(f"{what}, {size // _MIB} MiB, {len(result.pairs)} rounds: min / median / max")
    _report_costs("registry-mirror", [pair.daemon for pair in result.pairs])
    _report_costs("skopeo copy", [pair.skopeo for pair in result.pairs])
    print(f"  throughput, registry-mirror / skopeo: {_spread([pair.speed for pair in result.pairs])}")
    peaks = ", ".join(f"{peak / _MIB:.0f}" for peak in result.peaks)
    print(f"  registry-mirror's peak memory after each round: {peaks} MiB")


def _report_costs(who: str, costs: Sequence[Cost]) -> None:
    seconds, processor = _spread([cost.seconds for cost in costs]), _spread([cost.processor for cost in costs])
    print(f"  {who + ':':16} {seconds} s, processor time {processor} s")


def _spread(figures: Sequence[float]) -> str:
    return " / ".join(f"{figure:.2f}" for figure in (min(figures), statistics.median(figures), max(figures)))


def main(mebibytes: int = 384, rounds: int = 6) -> None:
    """Print the figures."""
    size = mebibytes * _MIB
    shapes = {"six layers and small ones": [size // 6] * 6 + _SMALL, "one layer": [size]}
    for what, sizes in shapes.items():
        with tempfile.TemporaryDirectory(prefix="mirror-") as directory:
            _report(what, size, measure(sizes, rounds, Path(directory)))
        with tempfile.TemporaryDirectory(prefix="mirror-") as directory:
            ahead = measure_head_start(sizes, Path(directory))
        print(f"  eager: {ahead.share:.0%} is upstream when the push returns, all of it {ahead.seconds:.2f} s later")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
