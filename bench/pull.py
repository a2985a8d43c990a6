"""How fast readers get an image from the daemon, beside the same readers of the same image at a docker-registry.

The registry is the daemon's upstream, which has got the image from it. The image has four layers; a reader takes all
of it over one connection, one blob after the other, and lets the kernel throw it away: what is measured is serving.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from bench import clients, machine
from bench.blobs import make_blobs, manifest_of, write_config
from bench.measure import Figure, Usage, alternate, take_memory
from bench.report import Faster, Measure, Report
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.process import Process
from tests.rig.registry import Registry
from tests.rig.wire import Wire

_UPSTREAM = "registry.example.com"
_REPOSITORY, _TAG = "bench", "v1"
_LAYERS = 4
_MB = 10**6
_PATIENCE = 600.0
# How much memory a pull needs, in images: the files, and those of either server.
_MEMORY = 3

OURS, PEER = "registry-mirror", "docker-registry"
_TARGETS = [Faster(0.9, PEER, OURS)]

Read = Callable[[int], Figure]


@contextmanager
def servers(size: int, directory: Path) -> Iterator[Mapping[str, Read]]:
    """The daemon and the registry, which have an image of `size` bytes; gives for each what readers of it take."""
    with ExitStack() as running:
        containerd = running.enter_context(Containerd(directory / "containerd"))
        registry = running.enter_context(Registry(directory / "registry"))
        upstreams = {_UPSTREAM: registry.url}
        daemon = running.enter_context(Daemon(directory / "daemon", containerd.address, upstreams))
        _push(daemon, size, directory)
        ours: Mapping[str, Process] = {"daemon": daemon, "containerd": containerd}
        yield {
            OURS: partial(_read, daemon.host, ours),
            PEER: partial(_read, registry.host, {"registry": registry}),
        }


def _push(daemon: Daemon, size: int, directory: Path) -> None:
    layers = make_blobs(directory / "blobs", _LAYERS, size // _LAYERS)
    config = write_config(directory)
    clients.push(daemon.host, _REPOSITORY, [config, *layers], _LAYERS)
    Wire(daemon.url).push_manifest(_REPOSITORY, _TAG, manifest_of(config, layers))
    daemon.wait(f"{_REPOSITORY}:{_TAG}", "replicated", seconds=_PATIENCE)


def _read(host: str, processes: Mapping[str, Process], readers: int) -> Figure:
    with Usage(processes) as usage:
        clients.read(host, _REPOSITORY, _TAG, readers, usage.begin)
    return usage.figure


def measure(size: int, readers: Sequence[int], rounds: int) -> Iterator[Measure]:
    """Let so many readers at once have an image of `size` bytes from both, `rounds` times in alternating order."""
    take_memory(_MEMORY * size)
    with tempfile.TemporaryDirectory(prefix="mirror-") as directory, servers(size, Path(directory)) as reads:
        for number in readers:
            figures = alternate({name: partial(read, number) for name, read in reads.items()}, rounds)
            name = f"{size / _MB:g} MB, {number} reader{'s' if number > 1 else ''}"
            yield Measure.timed(name, figures, OURS, _TARGETS)


def main(arguments: Sequence[str]) -> Report:
    """Read with each number of readers."""
    parser = argparse.ArgumentParser(prog="python -m bench pull")
    parser.add_argument("--megabytes", type=float, default=500, help="the size of the image")
    parser.add_argument("--readers", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args(arguments)
    measures = [*measure(int(asked.megabytes * _MB), asked.readers, asked.rounds)]
    return Report("pull", "Pulls of an image", machine.describe(), measures)
