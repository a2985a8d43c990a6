"""Many builders at once: what small requests take beside large uploads, and what a container's start takes meanwhile.

Some builders push small images, each as fast as it can, while others upload layers as large as they get, again and
again, until the small ones are through. Every answer must be the one that was asked for. What is timed, each time by
the median and by the 99th percentile:

- *upload*, *blob*, *manifest*: the requests of the small images: POST, PUT with the body, PUT of the manifest. The last
  one is the acknowledgement.
- *status*: where the image stands that was pushed last, twenty times a second.
- *answer*: `GET /v2/`, fifty times a second, counted from the moment when it was due. Neither containerd nor the
  journal has to do with it: this is how long the event loop is busy with something else, as it looks from outside.
- *container*: what a container's start begins with: a lease, and a snapshot under it, ten times a second, by gRPC.

The peer is docker-registry under the same load, with a containerd beside it that has nothing else to do; that same
containerd is asked once more when the machine is idle.
"""

import argparse
import statistics
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from threading import Event

import grpc

from bench import machine
from bench.measure import Figure, Usage, alternate, take_memory
from bench.report import Measure, Report
from mirror.pb.leases_pb2 import CreateRequest, DeleteRequest
from mirror.pb.leases_pb2_grpc import LeasesStub
from mirror.pb.snapshots_pb2 import PrepareSnapshotRequest, RemoveSnapshotRequest
from mirror.pb.snapshots_pb2_grpc import SnapshotsStub
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import Layer, Layout, Noise, Text, build_image
from tests.rig.registry import Registry
from tests.rig.wire import Answer, Wire, digest_of, finishing

_UPSTREAM = "registry.example.com"
_OURS, _PEER, _IDLE = "registry-mirror", "docker-registry", "an idle machine"
_MIB, _GIB = 1 << 20, 1 << 30
_SMALL_LAYER = 20_000
_PATIENCE = 600.0
_OK, _CREATED = 200, 201
_STATUS_EVERY, _ANSWER_EVERY, _CONTAINER_EVERY = 1 / 20, 1 / 50, 1 / 10
_IDLE_SECONDS = 3.0
_REQUESTS = ("upload", "blob", "manifest", "answer")
# How much memory a large upload needs, in layers: page cache above all.
_MEMORY = 4


@dataclass(frozen=True)
class Work:
    """What builders have to push: so many `builders` the small images, and one for each large image its last layer."""

    small: Sequence[Layout]
    large: Sequence[Layout]
    builders: int

    @classmethod
    def make(cls, directory: Path, *, small: int, large: int, size: int, builders: int) -> "Work":
        """So many images of two small layers, and so many layers of `size` bytes."""
        images = [_small_image(directory / f"small-{number}") for number in range(small)]
        layers = [Layer([Noise("large", size + number)], "none") for number in range(large)]
        return cls(images, [build_image(directory / f"large-{n}", [layer]) for n, layer in enumerate(layers)], builders)


def _small_image(directory: Path) -> Layout:
    return build_image(directory, [Layer([Text(f"{directory.name}/{layer}", _SMALL_LAYER)]) for layer in range(2)])


@dataclass
class Times:
    """What requests took, in seconds, by their kind; `large` is the bytes of each large layer that came through."""

    by_kind: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    large: list[int] = field(default_factory=list)

    @contextmanager
    def time(self, kind: str, *, due: float | None = None) -> Iterator[None]:
        """Take the time of one request; from when it was `due` on, as whoever asks late has waited already."""
        began = due or time.monotonic()
        yield
        self.by_kind[kind].append(time.monotonic() - began)


@dataclass(frozen=True)
class Run:
    """What one way took; `idle` is the containerd alone, before."""

    times: Times
    figure: Figure
    idle: Times


class Builders:
    """All that the builders of one run ask a server for; what is not answered as it must be is a RuntimeError."""

    def __init__(self, url: str, work: Work, times: Times) -> None:
        self._url = url
        self._wire = Wire(url, patience=_PATIENCE)
        self._work = work
        self._times = times
        self._last = ""

    def push_small(self) -> None:
        """Push the small images, all of them, several at once."""
        with ThreadPoolExecutor(self._work.builders) as builders:
            _finish(builders.map(self._push, self._work.small))

    def _push(self, layout: Layout) -> None:
        name = f"load/{layout.directory.name}"
        for blob in layout.children:
            self._push_blob(name, layout.blob(blob.digest).read_bytes())
        with self._times.time("manifest"):
            answer = self._wire.push_manifest(name, "v1", layout.manifest, layout.top.media_type)
        _check(answer, _CREATED)
        self._last = name

    def _push_blob(self, name: str, data: bytes) -> None:
        with self._times.time("upload"):
            location = self._wire.begin(name)
        with self._times.time("blob"):
            answer = self._wire.ask("PUT", finishing(location, digest_of(data)), data)
        _check(answer, _CREATED)

    def push_large(self, layout: Layout, over: Event) -> None:
        """Upload the layer of a large image again and again, to another repository each time."""
        layer = layout.children[-1]
        while not over.is_set():
            name = f"load/{uuid.uuid4().hex}"
            self._upload(finishing(self._wire.begin(name), layer.digest), layout.blob(layer.digest))
            self._times.large.append(layer.size)

    def _upload(self, location: str, layer: Path) -> None:
        connection = HTTPConnection(self._url.removeprefix("http://"), timeout=_PATIENCE, blocksize=_MIB)
        with layer.open("rb") as file:
            length = {"Content-Length": str(layer.stat().st_size)}
            connection.request("PUT", location.removeprefix(self._url), file, length)
            answer = connection.getresponse()
            _check(Answer(answer.status, {}, answer.read()), _CREATED)
        connection.close()

    def ask_for_status(self, due: float) -> None:
        """Where the image stands that was pushed last."""
        if self._last:
            with self._times.time("status", due=due):
                answer = self._wire.ask("GET", f"/v2/{self._last}/_mirror/status/v1")
            _check(answer, _OK)

    def ask_for_nothing(self, due: float) -> None:
        """An answer that takes the server no work."""
        with self._times.time("answer", due=due):
            answer = self._wire.ask("GET", "/v2/")
        _check(answer, _OK)


class Starts:
    """What the start of a container begins with, in a containerd."""

    def __init__(self, containerd: Containerd, times: Times) -> None:
        channel = grpc.insecure_channel(f"unix:{containerd.address}")
        self._leases, self._snapshots = LeasesStub(channel), SnapshotsStub(channel)
        self._snapshotter = containerd.snapshotter
        self._times = times

    def start(self, due: float) -> None:
        """Make a lease, and a snapshot under it; then take both away again."""
        name = f"load-{uuid.uuid4().hex}"
        space = ("containerd-namespace", "default")
        with self._times.time("container", due=due):
            self._leases.Create(CreateRequest(id=name), metadata=(space,))
            snapshot = PrepareSnapshotRequest(snapshotter=self._snapshotter, key=name)
            self._snapshots.Prepare(snapshot, metadata=(space, ("containerd-lease", name)))
        self._snapshots.Remove(RemoveSnapshotRequest(snapshotter=self._snapshotter, key=name), metadata=(space,))
        self._leases.Delete(DeleteRequest(id=name), metadata=(space,))


def _finish(results: Iterable[None]) -> None:
    """Wait for all of them; the first failure is raised."""
    for _ in results:
        pass


def _check(answer: Answer, status: int) -> None:
    if answer.status != status:
        raise RuntimeError(f"not {status}: {answer}")


def _repeat(work: Callable[[float], None], every: float, over: Event) -> None:
    """Do something every so many seconds, and tell it when it was due: one at a time, with none to catch up on."""
    due = time.monotonic()
    while not over.wait(max(due - time.monotonic(), 0.0)):
        work(due)
        due = max(due + every, time.monotonic())


def _load(builders: Builders, starts: Starts, work: Work, *, has_status: bool) -> None:
    """Everything at once, until the small images are pushed."""
    over = Event()
    steady = [(builders.ask_for_nothing, _ANSWER_EVERY), (starts.start, _CONTAINER_EVERY)]
    steady += [(builders.ask_for_status, _STATUS_EVERY)] if has_status else []
    with ThreadPoolExecutor() as pool:
        running = [pool.submit(_repeat, ask, every, over) for ask, every in steady]
        running += [pool.submit(builders.push_large, layout, over) for layout in work.large]
        try:
            builders.push_small()
        finally:
            over.set()
    _finish(future.result() for future in running)


def _alone(containerd: Containerd) -> Times:
    """The start of containers and nothing else."""
    times, over = Times(), Event()
    with ThreadPoolExecutor() as pool:
        running = pool.submit(_repeat, Starts(containerd, times).start, _CONTAINER_EVERY, over)
        over.wait(_IDLE_SECONDS)
        over.set()
    running.result()
    return times


def load_daemon(work: Work) -> Run:
    """All of it to the daemon, and into its containerd."""
    with (
        tempfile.TemporaryDirectory(prefix="mirror-") as directory,
        Containerd(Path(directory, "containerd")) as containerd,
        Registry(Path(directory, "upstream")) as upstream,
        Daemon(Path(directory, "daemon"), containerd.address, {_UPSTREAM: upstream.url}) as daemon,
    ):
        idle, times = _alone(containerd), Times()
        with Usage({"daemon": daemon, "containerd": containerd, "upstream": upstream}) as usage:
            _load(Builders(daemon.url, work, times), Starts(containerd, times), work, has_status=True)
        return Run(times, usage.figure, idle)


def load_peer(work: Work) -> Run:
    """The same to a registry, beside a containerd that has nothing to do with it."""
    with (
        tempfile.TemporaryDirectory(prefix="mirror-") as directory,
        Containerd(Path(directory, "containerd")) as containerd,
        Registry(Path(directory, "registry")) as registry,
    ):
        idle, times = _alone(containerd), Times()
        with Usage({"registry": registry, "containerd": containerd}) as usage:
            _load(Builders(registry.url, work, times), Starts(containerd, times), work, has_status=False)
        return Run(times, usage.figure, idle)


def measure(work: Work, rounds: int) -> Mapping[str, Sequence[Run]]:
    """Both under the same load, in alternating order."""
    return alternate({_OURS: partial(load_daemon, work), _PEER: partial(load_peer, work)}, rounds)


def main(arguments: Sequence[str]) -> Report:
    """Make the work, and give it to both."""
    parser = argparse.ArgumentParser(prog="python -m bench load")
    parser.add_argument("--images", type=int, default=300, help="small images, pushed by")
    parser.add_argument("--builders", type=int, default=8, help="so many builders")
    parser.add_argument("--large", type=int, default=3, help="large uploads beside them")
    parser.add_argument("--mebibytes", type=int, default=1024, help="the size of each")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args(arguments)
    size = asked.mebibytes * _MIB
    take_memory(_MEMORY * asked.large * size)
    with tempfile.TemporaryDirectory(prefix="mirror-") as scratch:
        work = Work.make(Path(scratch), small=asked.images, large=asked.large, size=size, builders=asked.builders)
        runs = measure(work, asked.rounds)
    small = f"{asked.images} images of two small layers by {asked.builders} builders"
    large = f"{asked.large} uploads of {asked.mebibytes} MiB each, again and again"
    notes = [f"{small}, beside {large}; nothing failed."]
    return Report("load", "Small pushes beside large uploads", machine.describe(), [*_measures(runs)], notes)


def _measures(runs: Mapping[str, Sequence[Run]]) -> Iterator[Measure]:
    yield Measure.timed("all small images", {way: [run.figure for run in took] for way, took in runs.items()}, _OURS)
    under_load = {way: [run.times for run in took] for way, took in runs.items()}
    for kind in _REQUESTS:
        yield from _percentiles(kind, under_load)
    yield from _percentiles("status", {_OURS: under_load[_OURS]})
    idle = {_IDLE: [run.idle for run in runs[_OURS]]}
    yield from _percentiles("container", under_load | idle)
    # Of rates less is worse: so it is the time for a gibibyte of them.
    slowness = {way: [_GIB * run.figure.seconds / sum(run.times.large) for run in took] for way, took in runs.items()}
    yield Measure("a GiB of the large uploads", "s", slowness, _OURS)


def _percentiles(kind: str, ways: Mapping[str, Sequence[Times]]) -> Iterator[Measure]:
    for name, percent in (("median", 50), ("99th percentile", 99)):
        figures = {way: [1000 * _percentile(one.by_kind[kind], percent) for one in took] for way, took in ways.items()}
        yield Measure(f"{kind}, {name}", "ms", figures, _OURS)


def _percentile(times: Sequence[float], percent: int) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[percent - 1]
