"""The same deploys with a long link between the host and the registry, and what replication makes of such a link.

Builder and host are on the near side of the link (`tests/rig/link`), the registry is on the far side: by the registry
an image crosses the link twice before it runs, by the mirror once, and afterwards. Nothing else is on the link; there
is no TLS, which would add a round trip to each connection of either way.

Of replication it is one image that the daemon has, on its way to the registry, beside `skopeo copy` and `ctr images
push` of the same image; what one bare TCP stream of so many bytes takes; and the bits alone, at the link's rate.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Self, get_args

from bench import machine
from bench.deploying import OURS, PUSHED, STORED, THEIRS, builder_of, compare, measures
from bench.image import Shape, make_releases
from bench.measure import Figure, Usage, file_room, take_memory
from bench.replication import Bench
from bench.replication import compare as compare_replication
from bench.report import Faster, Measure, Report
from tests.rig.link import MBIT, FarRegistry, Link
from tests.rig.stream import send, sink

_MB, _MIB = 10**6, 1 << 20
_BITS = 8
_ROUND_TRIP = 0.17
_MEMORY = 4
_ALONE = "the bits alone"
_DEPLOY = Faster(20, THEIRS, OURS)
_REPLICATION = Faster(0.9, _ALONE, OURS)


@dataclass(frozen=True)
class Kind:
    """A link: its rate in Mbit/s, and the share of its packets that are lost in per cent."""

    rate: float
    loss: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `rate` or `rate/loss`. Raises ValueError."""
        rate, _, loss = text.partition("/")
        return cls(float(rate), float(loss or 0))

    @contextmanager
    def laid(self) -> Iterator[Link]:
        """Such a link, on whose near side this program is meanwhile."""
        with tempfile.TemporaryDirectory(prefix="mirror-") as directory:
            link = Link(Path(directory), round_trip=_ROUND_TRIP, rate=self.rate * MBIT, loss=self.loss / 100)
            with link, link.near.entered():
                yield link

    def __str__(self) -> str:
        lossy = f", {self.loss:g} % lost" if self.loss else ""
        return f"{_ROUND_TRIP * 1000:g} ms, {self.rate:g} Mbit/s{lossy}"


_LINKS = (Kind(50, 0), Kind(100, 0), Kind(100, 0.5), Kind(1000, 0))
_TARGET_LINK, _TARGET_SIZE = Kind(100, 0), 500


def deploys(kind: Kind, shape: Shape, megabytes: int, rounds: int) -> Iterator[Measure]:
    """Deploy images of a shape and a size over such a link."""
    take_memory(_MEMORY * megabytes * _MB)
    with ExitStack() as running:
        room = running.enter_context(file_room())
        images = make_releases(room, megabytes * _MB, "gzip", shape)
        link = running.enter_context(kind.laid())
        builder = running.enter_context(builder_of(images, room / "builder"))
        taken = compare(builder, partial(FarRegistry, link=link), room, rounds)
    targets = [_DEPLOY] if (kind, megabytes) == (_TARGET_LINK, _TARGET_SIZE) else []
    return measures(f"{kind}: {megabytes} MB of {shape}", taken, PUSHED | STORED, targets)


def replication(kind: Kind, sizes: Sequence[int], rounds: int) -> Measure:
    """Bring images with layers of these sizes over such a link."""
    with ExitStack() as running:
        directory = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="mirror-")))
        link = running.enter_context(kind.laid())
        running.enter_context(sink(link))
        upstream = FarRegistry(directory / "upstream", link)
        bench = running.enter_context(Bench(directory, eager=False, upstream=upstream))
        taken = compare_replication(bench, sizes, rounds, {"one TCP stream": partial(_stream, link, sum(sizes))})
    alone = Figure(sum(sizes) * _BITS / (kind.rate * MBIT), {}, {})
    name = f"{kind}: replication of {sum(sizes) // _MIB} MiB, layers: {len(sizes)}"
    return Measure.timed(name, {**taken, _ALONE: [alone] * rounds}, OURS, [_REPLICATION])


def _stream(link: Link, size: int) -> Figure:
    with Usage({}) as usage:
        seconds = send(link, (bytes(min(_MIB, size - start)) for start in range(0, size, _MIB)))
    return replace(usage.figure, seconds=seconds)


def main(arguments: Sequence[str]) -> Report:
    """Deploy over each kind of link."""
    parser = _parser("wan")
    parser.add_argument("--shapes", nargs="+", choices=get_args(Shape), default=get_args(Shape))
    parser.add_argument("--megabytes", type=int, nargs="+", default=[10, 500], help="sizes of unpacked images")
    asked = parser.parse_args(arguments)
    found = [
        measure
        for kind, shape, size in product(asked.links, asked.shapes, asked.megabytes)
        for measure in deploys(kind, shape, size, asked.rounds)
    ]
    return Report("wan", "Deploys over a long link", machine.describe(), found, [_control()])


def main_of_replication(arguments: Sequence[str]) -> Report:
    """Replicate over each kind of link."""
    parser = _parser("wan-replication")
    parser.add_argument("--mebibytes", type=int, nargs="+", default=[1024], help="sizes of images")
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 8], help="how many layers those have")
    asked = parser.parse_args(arguments)
    found = [
        replication(kind, [size * _MIB // layers] * layers, asked.rounds)
        for kind, size, layers in product(asked.links, asked.mebibytes, asked.layers)
    ]
    return Report("wan-replication", "Replication over a long link", machine.describe(), found, [_control()])


def _parser(name: str) -> argparse.ArgumentParser:
    """What both programs may be told."""
    parser = argparse.ArgumentParser(prog=f"python -m bench {name}")
    parser.add_argument(
        "--links", type=Kind.parse, nargs="+", default=_LINKS, help="Mbit/s, or Mbit/s and loss: 100/0.5"
    )
    parser.add_argument("--rounds", type=int, default=3)
    return parser


def _control() -> str:
    return f"TCP of both ends is {Path('/proc/sys/net/ipv4/tcp_congestion_control').read_text().strip()}, untuned."
