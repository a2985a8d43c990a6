"""How soon a container runs from an image that is pushed to the daemon, beside the way over a registry.

It makes an image of four layers, and deploys it in both ways in alternating order: first with layers of gzip, then with
layers of zstd.

- registry-mirror: push to it, wait until the image is unpacked, `ctr run`. As always it replicates meanwhile: to a
  docker-registry on this machine, which has its share of the same processors.
- docker-registry: push to one on this machine, `ctr images pull`, `ctr run`. A real one would be further away.

The client is `ctr` on a containerd of its own. It sends all blobs at once, as they are and each in one request, as
BuildKit does; skopeo sends the layers of a layout one after another. Servers and the host's containerd are new for each
deploy, so that nobody has anything of the image. What is measured is the client from its start to its end, and from
there to the first line that the container prints.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import machine
from bench.measure import alternate, take_memory
from bench.report import Measure, Report
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import Compression, Content, Layer, Layout, Noise, Text, build_image, busybox
from tests.rig.registry import Registry
from tests.rig.wire import AdminWire

_UPSTREAM = "registry.example.com"
_IMAGE = "bench:v1"
_GREETING = "it runs\n"
_MB = 10**6
_PATIENCE = 600.0
# What the image is made of, each layer a share of it: base, runtime, dependencies, application. Half of the files have
# less than 4 KB, their mean is 20 KB: 24,000 files in 500 MB. Three of four are text, which compresses to about a
# third; the others are noise, as pictures and archives are to a compressor.
_SHARES = (0.2, 0.25, 0.45, 0.1)
_LOG_MEDIAN, _LOG_SIGMA = 8.3, 1.8
_TEXTS = 0.75
_FILES_IN_A_DIRECTORY = 50
# How much memory a deploy needs, in images: page cache above all.
_MEMORY = 4


@dataclass(frozen=True)
class Deploy:
    """What a deploy took, in seconds: from the client's start to its end, and from there to the container's line."""

    push: float
    start: float

    @property
    def total(self) -> float:
        """Both."""
        return self.push + self.start


@dataclass(frozen=True)
class Builder:
    """A client that has the image in a containerd of its own."""

    containerd: Containerd

    def push(self, host: str) -> float:
        """Push the image to `host:port`; returns the seconds that the client took."""
        began = time.monotonic()
        self.containerd.ctr("images", "push", "--plain-http", f"{host}/{_IMAGE}", _IMAGE, seconds=_PATIENCE)
        return time.monotonic() - began


@contextmanager
def builder_of(layout: Layout, directory: Path) -> Iterator[Builder]:
    """A client in `directory`, with the image of a layout."""
    with Containerd(directory) as containerd:
        containerd.import_layout(layout.directory, _IMAGE.partition(":")[0])
        yield Builder(containerd)


def make_image(directory: Path, size: int, compression: Compression) -> Layout:
    """An image of four layers whose files have `size` bytes in all, beside the program that it starts."""
    layers: list[list[Content]] = [[*_files(place, int(size * share))] for place, share in enumerate(_SHARES)]
    layers[0] += busybox(_GREETING).files
    return build_image(directory, [Layer(files, compression) for files in layers])


def _files(layer: int, size: int) -> Iterator[Content]:
    """The files of one layer, the same in each run."""
    source = random.Random(layer)  # noqa: S311 - it must repeat itself
    number = 0
    while size:
        length = min(size, 1 + int(source.lognormvariate(_LOG_MEDIAN, _LOG_SIGMA)))
        kind = Text if source.random() < _TEXTS else Noise
        yield kind(f"srv/{layer}/{number // _FILES_IN_A_DIRECTORY}/{number}", length)
        size, number = size - length, number + 1


def deploy_by_mirror(builder: Builder, directory: Path) -> Deploy:
    """Push to the daemon of the host that the image is to run on."""
    with ExitStack() as running:
        host = running.enter_context(Containerd(directory / "containerd"))
        upstream = running.enter_context(Registry(directory / "upstream"))
        daemon = running.enter_context(Daemon(directory / "daemon", host.address, {_UPSTREAM: upstream.url}))
        push = builder.push(daemon.host)
        began = time.monotonic()
        _wait_until_unpacked(daemon)
        return Deploy(push, _started(host, f"{_UPSTREAM}/{_IMAGE}") - began)


def _wait_until_unpacked(daemon: Daemon) -> None:
    """Do what `registry-mirror wait` does, but for starting it: a platform that deploys runs already."""
    admin = AdminWire(daemon.directory / "admin.sock", patience=_PATIENCE)
    answer = admin.ask("GET", f"/wait?image={_IMAGE}&for=unpacked&timeout={_PATIENCE / 2:g}")
    if not json.loads(answer.body).get("reached"):
        raise RuntimeError(f"not unpacked: {answer}\n{daemon.log_tail()}")


def deploy_by_registry(builder: Builder, directory: Path) -> Deploy:
    """Push to a registry, and pull from there on the host that the image is to run on."""
    with Containerd(directory / "containerd") as host, Registry(directory / "registry") as registry:
        push = builder.push(registry.host)
        began = time.monotonic()
        image = f"{registry.host}/{_IMAGE}"
        host.ctr("images", "pull", "--plain-http", image, seconds=_PATIENCE)
        return Deploy(push, _started(host, image) - began)


def _started(host: Containerd, image: str) -> float:
    """Start a container; returns when its first line came."""
    lines = host.container_lines(image)
    first, now = next(lines, ""), time.monotonic()
    if (printed := [first, *lines]) != [_GREETING]:
        raise RuntimeError(f"the container printed {printed}\n{host.log_tail()}")
    return now


Way = Callable[[Builder, Path], Deploy]
_OURS = "registry-mirror"
_WAYS: Mapping[str, Way] = {_OURS: deploy_by_mirror, "docker-registry, ctr pull": deploy_by_registry}
_PARTS: Mapping[str, Callable[[Deploy], float]] = {
    "push": lambda deploy: deploy.push,
    "then until it runs": lambda deploy: deploy.start,
    "both": lambda deploy: deploy.total,
}


def measure(size: int, compression: Compression, rounds: int) -> Mapping[str, Sequence[Deploy]]:
    """Deploy an image in both ways, `rounds` times in alternating order."""
    with tempfile.TemporaryDirectory(prefix="mirror-") as scratch:
        layout = make_image(Path(scratch, "layout"), size, compression)
        with builder_of(layout, Path(scratch, "builder")) as builder:
            return alternate({name: partial(_deploy, way, builder) for name, way in _WAYS.items()}, rounds)


def _deploy(way: Way, builder: Builder) -> Deploy:
    with tempfile.TemporaryDirectory(prefix="mirror-") as directory:
        return way(builder, Path(directory))


def _measures(size: int, compression: Compression, rounds: int) -> Iterator[Measure]:
    deploys = measure(size, compression, rounds)
    for name, part in _PARTS.items():
        ways = {way: [part(deploy) for deploy in took] for way, took in deploys.items()}
        yield Measure(f"{size // _MB} MB in layers of {compression}: {name}", "s", ways, _OURS)


def main(arguments: Sequence[str]) -> Report:
    """Deploy with layers of either kind."""
    parser = argparse.ArgumentParser(prog="python -m bench deploy")
    parser.add_argument("--megabytes", type=int, default=500, help="the size of the image when it is unpacked")
    parser.add_argument("--rounds", type=int, default=4)
    asked = parser.parse_args(arguments)
    size = asked.megabytes * _MB
    take_memory(_MEMORY * size)
    compressions: Sequence[Compression] = ("gzip", "zstd")
    measures = [part for compression in compressions for part in _measures(size, compression, asked.rounds)]
    return Report("deploy", "From a push to a started container", machine.describe(), measures)
