"""The two ways of an image from a builder to the first line of its container, on real servers.

- by the mirror: push to the daemon on the host, wait until the image is unpacked, `ctr run`. As always the daemon
  replicates meanwhile, to the registry.
- by the registry: push to it, `ctr images pull` on the host, `ctr run`.

The client is `ctr` on a containerd of its own. It sends all blobs at once, as they are and each in one request, as
BuildKit does; skopeo sends the layers of a layout one after another.
"""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Self

from bench.image import FIRST, NAME, SECOND, Release
from bench.measure import Figure, Usage, alternate
from bench.report import Measure, Target
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import Layout
from tests.rig.process import Process
from tests.rig.registry import Registry
from tests.rig.wire import AdminWire

OURS, THEIRS = "registry-mirror", "registry and pull"
"""The names of the ways in reports."""

_COLD = "cold"

STEPS: Mapping[str, Release] = {_COLD: FIRST, "one layer changed": SECOND, "nothing changed": SECOND}
"""What is deployed one after another, on servers that had nothing before the first."""

_UPSTREAM = "registry.example.com"
_PATIENCE = 3600.0


@dataclass(frozen=True)
class Deploy:
    """What a deploy took from the beginning of its push to the first line of its container.

    `push` are the seconds until the client was done, and `stored` those until the registry had all of the image.
    """

    figure: Figure
    push: float
    stored: float


Part = Callable[[Deploy], float]

PUSHED: dict[str, Part] = {"the push is done": lambda deploy: deploy.push}
STORED: dict[str, Part] = {"the registry has it": lambda deploy: deploy.stored}
"""Parts of a deploy, by what they reach until."""


@dataclass(frozen=True)
class Builder:
    """A client that has the images in a containerd of its own."""

    containerd: Containerd

    def push(self, host: str, release: Release) -> None:
        """Push an image to `host:port`."""
        target = f"{host}/{release.name}"
        self.containerd.ctr("images", "push", "--plain-http", target, release.name, seconds=_PATIENCE)


@contextmanager
def builder_of(layouts: Sequence[Layout], directory: Path) -> Iterator[Builder]:
    """A client in `directory`, with the images of some layouts."""
    with Containerd(directory) as containerd:
        for layout in layouts:
            containerd.import_layout(layout.directory, NAME)
        yield Builder(containerd)


class Way(ABC):
    """A host that images get to, in `directory`; there is a central `registry` already, which the caller runs."""

    def __init__(self, directory: Path, registry: Registry) -> None:
        self.host = Containerd(directory / "host")
        self._registry = registry

    def deploy(self, builder: Builder, release: Release) -> Deploy:
        """Bring an image from the builder to a container that runs."""
        with ThreadPoolExecutor(1) as waiter, Usage({"builder": builder.containerd, **self._servers()}) as usage:
            began = time.monotonic()
            self._push(builder, release)
            pushed = time.monotonic()
            stored = waiter.submit(self._stored, release)
            started = self._started(self._arrived(release), release)
        figure = replace(usage.figure, seconds=started - began)
        return Deploy(figure, pushed - began, stored.result() - began)

    def _started(self, image: str, release: Release) -> float:
        """Start a container; returns when its first line came."""
        lines = self.host.container_lines(image)
        first, now = next(lines, ""), time.monotonic()
        if (printed := [first, *lines]) != [release.greeting]:
            raise RuntimeError(f"the container printed {printed}\n{self.host.log_tail()}")
        return now

    def _servers(self) -> Mapping[str, Process]:
        """What runs, by its name in figures."""
        return {"containerd": self.host, "registry": self._registry}

    @abstractmethod
    def _push(self, builder: Builder, release: Release) -> None:
        """Have the builder push to wherever this way begins."""

    @abstractmethod
    def _arrived(self, release: Release) -> str:
        """Wait until the image can be run; returns its name on the host."""

    @abstractmethod
    def _stored(self, release: Release) -> float:
        """Wait until the registry has an image that is pushed; returns when that was."""

    def __enter__(self) -> Self:
        """Start the host."""
        self.host.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.host.close()


class ByMirror(Way):
    """Over the daemon of the host."""

    def __init__(self, directory: Path, registry: Registry) -> None:
        super().__init__(directory, registry)
        self.daemon = Daemon(directory / "daemon", self.host.address, {_UPSTREAM: registry.url})

    def _servers(self) -> Mapping[str, Process]:
        return {"daemon": self.daemon, **super()._servers()}

    def _push(self, builder: Builder, release: Release) -> None:
        builder.push(self.daemon.host, release)

    def _arrived(self, release: Release) -> str:
        self._wait(release, "unpacked")
        return f"{_UPSTREAM}/{release.name}"

    def _stored(self, release: Release) -> float:
        self._wait(release, "replicated")
        return time.monotonic()

    def _wait(self, release: Release, goal: str) -> None:
        """Do what `registry-mirror wait` does, but for starting it: a platform that deploys runs already."""
        admin = AdminWire(self.daemon.directory / "admin.sock", patience=_PATIENCE)
        answer = admin.ask("GET", f"/wait?image={release.name}&for={goal}&timeout={_PATIENCE / 2:g}")
        if not json.loads(answer.body).get("reached"):
            raise RuntimeError(f"not {goal}: {answer}\n{self.daemon.log_tail()}")

    def __enter__(self) -> Self:
        """Start the host, then the daemon."""
        super().__enter__()
        self.daemon.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop both."""
        self.daemon.close()
        super().__exit__()


class ByRegistry(Way):
    """Over the registry."""

    def _push(self, builder: Builder, release: Release) -> None:
        builder.push(self._registry.host, release)

    def _arrived(self, release: Release) -> str:
        image = f"{self._registry.host}/{release.name}"
        self.host.ctr("images", "pull", "--plain-http", image, seconds=_PATIENCE)
        return image

    def _stored(self, release: Release) -> float:  # noqa: ARG002 - it was pushed to there
        return time.monotonic()


WAYS: Mapping[str, Callable[[Path, Registry], Way]] = {OURS: ByMirror, THEIRS: ByRegistry}
"""Those that are compared."""

Steps = Mapping[str, Deploy]
"""The deploys of one round, by their step."""


def compare(
    builder: Builder, registry: Callable[[Path], Registry], room: Path, rounds: int
) -> Mapping[str, Sequence[Steps]]:
    """Take all steps in both ways, in alternating order; `registry` makes one in a directory, a new one each time.

    What they leave in `room` is for the caller to remove.
    """
    return alternate({name: partial(_all_steps, way, builder, registry, room) for name, way in WAYS.items()}, rounds)


def _all_steps(
    kind: Callable[[Path, Registry], Way], builder: Builder, registry: Callable[[Path], Registry], room: Path
) -> Steps:
    directory = Path(mkdtemp(dir=room))
    with ExitStack() as running:
        central = running.enter_context(registry(directory / "registry"))
        way = running.enter_context(kind(directory, central))
        return {step: way.deploy(builder, release) for step, release in STEPS.items()}


def measures(
    name: str, taken: Mapping[str, Sequence[Steps]], parts: Mapping[str, Part], of_cold: Sequence[Target] = ()
) -> Iterator[Measure]:
    """What was taken, step by step, and of the first one these parts; `of_cold` are the targets of that step."""
    for step in STEPS:
        figures = {way: [steps[step].figure for steps in rounds] for way, rounds in taken.items()}
        yield Measure.timed(f"{name}, {step}", figures, OURS, of_cold if step == _COLD else ())
    for what, part in parts.items():
        seconds = {way: [part(steps[_COLD]) for steps in rounds] for way, rounds in taken.items()}
        yield Measure(f"{name}, {_COLD}, until {what}", "s", seconds, OURS)
