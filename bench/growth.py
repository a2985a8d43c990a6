"""What the daemon takes on a host with few images, and with many: nothing that a builder waits for may grow with them.

The hosts are made in process (`bench.populate`): with ten images, a thousand, a hundred thousand. Each is copied to the
disk, and the daemon is started on it. In each round the hosts take turns:

- *start*: `kill -9`, then from the start of the process to the first answered request. It reads its journal from end
  to end meanwhile, and the first round of its comparison with containerd begins.
- *push*: a whole image of a config, two layers and a manifest into the repository that has half of all images, each
  request on a connection of its own; and *status*, *manifest*, *tags* and *catalog*: one GET each, a list of at most
  100 names. The *overview* is what `registry-mirror status` asks for. Each is asked for several times, and the median
  counts. Before them a comparison is waited for, so that none is under way.
- *comparison*: one whole round of it. Meanwhile `GET /v2/`, which needs neither containerd nor the journal, is asked
  for again and again: the longest answer is how long the event loop was busy with something else, or almost.

Lists of tags come from containerd's image records, all of which it reads for each; and a comparison reads everything.
"""

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Self

from bench import machine
from bench.measure import alternate
from bench.populate import LARGE, UPSTREAM, names, populate
from bench.report import Faster, Limit, Measure, Report, Target
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import Layer, Layout, Text, build_image
from tests.rig.registry import Registry
from tests.rig.wire import AdminWire, Wire

_MIB = 1 << 20
_PATIENCE = 600.0
_OK = 200
_START, _COMPARISON, _MEMORY = "start after kill -9", "comparison", "peak memory at the end"
_UNITS = {_START: ("s", 1), _COMPARISON: ("s", 1), _MEMORY: ("MiB", 1)}
_LONGEST_START = 1.5
# A push and all that builders ask for: with the square of as many images it may take twice as long, no more.
_LOGARITHMIC = ("push", "status", "manifest", "catalog")
_NOTES = [
    "All images have the same config and layers; half of them are in one repository, the others ten in each.",
    "What is to grow no faster than the logarithm of the number of images may take as many times as long.",
]

Took = Mapping[str, float]
"""What each measure came to."""


class Host:
    """A daemon on a containerd with so many images, in a directory; to be entered."""

    def __init__(self, images: int, directory: Path) -> None:
        populate(images, directory)
        self._image = next(name for name in names(2) if name.repository.path == LARGE)
        self._layouts = (_layout(directory / f"layout-{number}") for number in count())
        self._containerd = Containerd(directory / "containerd")
        self._upstream = Registry(directory / "upstream")
        self._daemon = Daemon(
            directory / "daemon",
            self._containerd.address,
            {UPSTREAM: self._upstream.url},
            settings={"http": {"catalog": True}},
        )
        self._wire = Wire(self._daemon.url, patience=_PATIENCE)
        self._admin = AdminWire(directory / "daemon" / "admin.sock", patience=_PATIENCE)
        self._running = ExitStack()

    def __enter__(self) -> Self:
        """Start all of it."""
        with ExitStack() as running:
            for part in (self._containerd, self._upstream, self._daemon):
                running.enter_context(part)
            self._running = running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._running.close()

    def measure(self, times: int) -> Took:
        """What everything takes, in seconds, but for the daemon's memory in MiB."""
        took = {_START: self.start()}
        self._compare()
        took |= {what: _median(work, times) for what, work in self._asked().items()}
        took |= self.comparison()
        return took | {_MEMORY: self._daemon.peak_memory() / _MIB}

    def start(self) -> float:
        """Kill the daemon; returns how long after its start it answers."""
        self._daemon.kill()
        return _seconds(self._daemon.start)

    def _asked(self) -> Mapping[str, Callable[[], object]]:
        large, tag = f"/v2/{LARGE}", self._image.tag
        paths = {
            "status": f"{large}/_mirror/status/{tag}",
            "manifest": f"{large}/manifests/{tag}",
            "tags": f"{large}/tags/list?n=100",
            "tags of a small repository": "/v2/team/small-0/tags/list",
            "catalog": "/v2/_catalog?n=2",  # as many as the smallest host has
        }
        gets = {what: partial(_get, self._wire, path) for what, path in paths.items()}
        return {"push": self._push, **gets, "overview": partial(_get, self._admin, "/status")}

    def _push(self) -> None:
        layout = next(self._layouts)
        self._wire.push(LARGE, layout.directory.name, layout)

    def comparison(self) -> Mapping[str, float]:
        """How long a comparison takes, and the longest wait for an answer that needs nothing."""
        with _probed(self._wire) as waits:
            took = _seconds(self._compare)
        return {_COMPARISON: took, "longest wait beside it": max(waits)}

    def _compare(self) -> None:
        """A comparison, after the one that may be under way. Raises RuntimeError: it did not come to its end."""
        answer = self._admin.ask("POST", "/check")
        if not answer.body.rstrip().endswith(b'{"reason": ""}'):
            raise RuntimeError(f"{answer}\n{self._daemon.log_tail()}")


def _layout(directory: Path) -> Layout:
    """An image like no other, as small as they get."""
    layers = [Layer([Text(f"{directory}/{number}", 1000)]) for number in range(2)]
    return build_image(directory, layers)


def _get(wire: Wire, path: str) -> None:
    """Raises RuntimeError: it was refused."""
    answer = wire.ask("GET", path)
    if answer.status != _OK:
        raise RuntimeError(f"{path}: {answer}")


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _median(work: Callable[[], object], times: int) -> float:
    return statistics.median(_seconds(work) for _ in range(times))


@contextmanager
def _probed(wire: Wire) -> Iterator[Sequence[float]]:
    """Ask for nothing again and again; gives how long each answer took, complete at the end."""
    waits: list[float] = []
    over = Event()

    def probe() -> None:
        while not over.wait(0.01):
            waits.append(_seconds(partial(_get, wire, "/v2/")))

    thread = Thread(target=probe)
    thread.start()
    try:
        yield waits
    finally:
        over.set()
        thread.join()
        waits.append(_seconds(partial(_get, wire, "/v2/")))


def measure(
    sizes: Sequence[int], rounds: int, times: int, directory: Path
) -> Mapping[str, Sequence[Mapping[str, float]]]:
    """What each host takes, by the number of its images, round by round."""
    with ExitStack() as running:
        hosts = {_label(size): running.enter_context(Host(size, directory / str(size))) for size in sizes}
        return alternate({label: partial(host.measure, times) for label, host in hosts.items()}, rounds)


def _label(size: int) -> str:
    return f"{size:,} images"


def _targets(what: str, sizes: Sequence[int]) -> Sequence[Target]:
    """No worse than the logarithm of the number of images, from the fewest to the most; and a start has its limit."""
    fewest, most = min(sizes), max(sizes)
    if what == _START:
        return [Limit(_LONGEST_START, _label(most))]
    if what in _LOGARITHMIC:
        return [Faster(math.log(fewest) / math.log(most), _label(fewest), _label(most))]
    return []


def _measure_of(what: str, took: Mapping[str, Sequence[Took]], sizes: Sequence[int]) -> Measure:
    """One measure in a unit that suits it: what builders ask for takes milliseconds, the rest seconds or memory."""
    unit, scale = _UNITS.get(what, ("ms", 1000))
    ways = {label: [one[what] * scale for one in rounds] for label, rounds in took.items()}
    return Measure(what, unit, ways, _label(max(sizes)), _targets(what, sizes))


def main(arguments: Sequence[str]) -> Report:
    """Make the hosts and measure them."""
    parser = argparse.ArgumentParser(prog="python -m bench growth")
    parser.add_argument("--images", type=int, nargs="+", default=[10, 1000, 100_000], help="more than one each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--times", type=int, default=20, help="how often each request is made in a round")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="mirror-") as directory:
        took = measure(asked.images, asked.rounds, asked.times, Path(directory))
    measures = [_measure_of(what, took, asked.images) for what in next(iter(took.values()))[0]]
    return Report("growth", "One host with few images and with many", machine.describe(), measures, _NOTES)
