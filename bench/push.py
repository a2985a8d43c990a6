"""How fast blobs get into containerd by a push to the daemon, beside the other ways to get them there.

- The daemon, with each of its importers.
- `ctr content ingest` of the same files: no network, and what containerd itself can do.
- docker-registry: the same push, to a registry. Its blobs are not yet in containerd.
- docker-registry, `ctr content fetch`: then fetched from there, which is the way of today.

The client of all pushes is the same, and hardly takes processor time. It has started, digests are known and files are
in the page cache before the clock runs. Servers and containerd are new for each push, and have had a small one, so that
they are warm.
The daemon replicates nothing meanwhile, and nothing is unpacked: `replication` and `deploy` are about that.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench import clients, machine
from bench.blobs import Blob, make_blobs, manifest_of, write_config
from bench.measure import Figure, Usage, alternate, take_memory
from bench.report import Faster, Limit, Measure, Report, Target
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.ports import free_port
from tests.rig.registry import Registry
from tests.rig.wire import Wire

_GIB, _MIB, _KIB = 1 << 30, 1 << 20, 1 << 10
REPOSITORY = "bench"
_PATIENCE = 600.0
# How much memory a push needs, in its own size: the files, and what is made of them.
_MEMORY = 3

DIRECT, STREAM = "registry-mirror, direct", "registry-mirror, stream"
CTR, REGISTRY, TODAY = "ctr content ingest", "docker-registry", "docker-registry, ctr content fetch"
_SETTINGS: Mapping[str, Mapping[str, object]] = {
    DIRECT: {"import": "direct"},
    STREAM: {"import": "stream"},
}
_OURS = next(iter(_SETTINGS))


@dataclass(frozen=True)
class Load:
    """Blobs, and how many of them are on their way at a time."""

    blobs: Sequence[Blob]
    at_once: int

    @property
    def size(self) -> int:
        """Of all of them, in bytes."""
        return sum(blob.size for blob in self.blobs)


Way = Callable[[Load, Path], Figure]


def daemon_on(host: Containerd, way: str, directory: Path) -> Daemon:
    """A daemon that takes blobs that way, and replicates nothing."""
    away = {"registry.example.com": f"http://127.0.0.1:{free_port()}"}
    chosen = {"containerd": _SETTINGS[way], "replication": {"eager": False}}
    return Daemon(directory, host.address, away, settings=chosen)


def by_daemon(way: str, load: Load, directory: Path) -> Figure:
    """Push to the daemon."""
    with Containerd(directory / "containerd") as host, daemon_on(host, way, directory / "daemon") as daemon:
        figure = _push(daemon, {"daemon": daemon, "containerd": host}, load)
        _check(host, load)
        return figure


def by_ctr(load: Load, directory: Path) -> Figure:
    """Give the files to `ctr`, one each; it compares the digests, but holds nothing, so that all may be gone again."""
    with Containerd(directory / "containerd") as host:
        with Usage({"containerd": host}) as usage, ThreadPoolExecutor(load.at_once) as pool:
            list(pool.map(partial(_ingest, host), load.blobs))
        return usage.figure


def _ingest(host: Containerd, blob: Blob) -> None:
    known = ["--expected-digest", blob.digest, "--expected-size", str(blob.size)]
    with blob.path.open("rb") as file:
        host.ctr("content", "ingest", *known, blob.digest, stdin=file, seconds=_PATIENCE)


def by_registry(load: Load, directory: Path) -> Figure:
    """Push to a registry, and leave it at that."""
    with Registry(directory / "registry") as registry:
        return _push(registry, {"registry": registry}, load)


def by_registry_and_fetch(load: Load, directory: Path) -> Figure:
    """Push to a registry, and fetch from there into containerd."""
    with Containerd(directory / "containerd") as host, Registry(directory / "registry") as registry:
        warm(registry)
        config = write_config(directory)
        everything = [config, *load.blobs]
        with Usage({"registry": registry, "containerd": host}) as usage:
            clients.push(registry.host, REPOSITORY, everything, load.at_once, usage.begin)
            Wire(registry.url).push_manifest(REPOSITORY, "v1", manifest_of(config, load.blobs))
            fetch = ["content", "fetch", "--plain-http", f"{registry.host}/{REPOSITORY}:v1"]
            host.ctr(*fetch, seconds=_PATIENCE)
        _check(host, load)
        return usage.figure


def _push(server: Daemon | Registry, processes: Mapping[str, Daemon | Registry | Containerd], load: Load) -> Figure:
    warm(server)
    with Usage(processes) as usage:
        clients.push(server.host, REPOSITORY, load.blobs, load.at_once, usage.begin)
    return usage.figure


def warm(server: Daemon | Registry) -> None:
    """Push a small blob."""
    Wire(server.url).push_blob(REPOSITORY, b"warm")


def _check(host: Containerd, load: Load) -> None:
    """See that containerd has got what the figure is about.

    Raises:
        RuntimeError: it has not.
    """
    if missing := {blob.digest for blob in load.blobs} - host.contents():
        raise RuntimeError(f"{len(missing)} blobs are not in containerd")


_DAEMONS: Mapping[str, Way] = {name: partial(by_daemon, name) for name in _SETTINGS}
_REGISTRIES: Mapping[str, Way] = {REGISTRY: by_registry, TODAY: by_registry_and_fetch}
_ALL: Mapping[str, Way] = {**_DAEMONS, CTR: by_ctr, **_REGISTRIES}


@dataclass(frozen=True)
class Shape:
    """So many blobs of one size, so many at once, by some ways, with what is wanted of them."""

    count: int
    size: int
    at_once: int
    ways: Mapping[str, Way]
    targets: Sequence[Target] = ()

    @property
    def name(self) -> str:
        """For people."""
        units = {_GIB: "GiB", _MIB: "MiB", _KIB: "KiB", 1: "bytes"}
        unit = next(unit for unit in units if self.size >= unit)
        return f"{self.count:,} x {self.size / unit:g} {units[unit]}, {self.at_once} at once"

    def smaller(self, share: float) -> "Shape":
        """A share of it: of many blobs fewer, of few smaller ones."""
        if self.count > self.at_once:
            return replace(self, count=max(1, int(self.count * share)))
        return replace(self, size=max(1, int(self.size * share)))


SHAPES: Mapping[str, Shape] = {
    "one": Shape(1, _GIB, 1, _ALL, [Faster(5, CTR, DIRECT), Faster(8, TODAY, DIRECT), Faster(1.4, CTR, STREAM)]),
    "four": Shape(4, 256 * _MIB, 4, _ALL, [Faster(3.4, CTR, DIRECT)]),
    "many": Shape(200, _MIB, 8, _ALL),
    # Not by `ctr`: that would be about starting 2,000 programs.
    "small": Shape(2000, 4 * _KIB, 8, {**_DAEMONS, **_REGISTRIES}, [Faster(2.5, REGISTRY, DIRECT)]),
    "eight": Shape(8, _GIB, 8, {**_DAEMONS, REGISTRY: by_registry}),
}
_PER_GIB = [Limit(2.0, DIRECT)]
_PEAK = [Limit(120, DIRECT)]


def measure(shape: Shape, rounds: int) -> Mapping[str, Sequence[Figure]]:
    """Push blobs of a shape by all its ways, `rounds` times in alternating order."""
    take_memory(_MEMORY * shape.count * shape.size)
    with tempfile.TemporaryDirectory(prefix="mirror-") as directory:
        load = Load(make_blobs(Path(directory, "blobs"), shape.count, shape.size), shape.at_once)
        return alternate({name: partial(_once, way, load) for name, way in shape.ways.items()}, rounds)


def _once(way: Way, load: Load) -> Figure:
    with tempfile.TemporaryDirectory(prefix="mirror-") as directory:
        return way(load, Path(directory))


def _measures(name: str, shape: Shape, rounds: int) -> Iterator[Measure]:
    figures = measure(shape, rounds)
    yield Measure.timed(shape.name, figures, _OURS, shape.targets)
    ours = {way: figures[way] for way in _DAEMONS}
    if name == "one":
        spent = {way: [figure.processor["daemon"] * _GIB / shape.size for figure in took] for way, took in ours.items()}
        yield Measure("processor time of the daemon per GiB", "s", spent, _OURS, _PER_GIB)
    if name == "eight":
        peaks = {way: [figure.peak["daemon"] / _MIB for figure in took] for way, took in ours.items()}
        yield Measure(f"{shape.name}: peak memory of the daemon", "MiB", peaks, _OURS, _PEAK)


def main(arguments: Sequence[str]) -> Report:
    """Push blobs of each shape."""
    parser = argparse.ArgumentParser(prog="python -m bench push")
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--share", type=float, default=1.0, help="of what is pushed")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args(arguments)
    shapes = {name: SHAPES[name].smaller(asked.share) for name in asked.shapes}
    measures = [part for name, shape in shapes.items() for part in _measures(name, shape, asked.rounds)]
    return Report("push", "Pushes of blobs", machine.describe(), measures)
