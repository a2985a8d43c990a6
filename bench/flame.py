"""Where the daemon's processor time goes while blobs are pushed: `python -m bench.flame [--shapes SHAPE …]`.

For each shape of `bench.push`, by default one large blob and many small ones, it draws a file in `docs/figures`. py-spy
looks at all threads a few hundred times a second, and each box is below the one of the function that called it. A
thread is as wide as the processor time that the kernel says it took, and a function as often as it was seen in its
thread; what waits is left out. The daemon is slower meanwhile, so this is about shares, not about time.
"""

import argparse
import re
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from bench import clients
from bench.blobs import make_blobs
from bench.push import DIRECT, REPOSITORY, SHAPES, Load, Shape, daemon_on, warm
from tests.rig.containerd import Containerd
from tests.rig.until import until

_FIGURES = Path("docs/figures")
_RATE = "400"
# Where threads wait for work: py-spy cannot tell that from work.
_WAITING = ("_worker (concurrent/futures/thread.py)", "EpollSelector.select (selectors.py)")
_THREAD = re.compile(r"thread \((\d+)\)")
_WIDTH, _ROW, _HEADING, _LETTER, _LEAST = 1200, 18, 30, 6.6, 0.5
_STYLE = """
text { font: 11px ui-monospace, monospace; fill: #1f2328; pointer-events: none; }
.title { font: 600 15px system-ui, sans-serif; }
rect { stroke: #ffffff; stroke-width: 0.5; fill: #d0d7de; }
.mirror { fill: #80b3ff; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  rect { stroke: #0d1117; fill: #424a53; }
  .mirror { fill: #1f5fbf; }
}
"""


@dataclass
class Box:
    """A function, how often it was seen, and what it called meanwhile."""

    seen: int = 0
    called: defaultdict[str, "Box"] = field(default_factory=lambda: defaultdict(Box))

    @classmethod
    def of(cls, stacks: Iterable[str]) -> Self:
        """From lines of `outermost;…;innermost times`."""
        root = cls()
        for line in stacks:
            stack, _, times = line.rpartition(" ")
            root.add(stack.split(";"), int(times))
        return root

    def add(self, stack: Sequence[str], times: int) -> None:
        """Count one stack."""
        self.seen += times
        if stack:
            self.called[stack[0]].add(stack[1:], times)

    @property
    def depth(self) -> int:
        """Of the boxes that are drawn, in rows."""
        return max((1 + box.depth for box in self.called.values()), default=0)


def draw(root: Box, title: str) -> str:
    """The drawing, as SVG; what would be less than half a pixel wide is left out."""
    height = _HEADING + root.depth * _ROW
    box = {"viewBox": f"0 0 {_WIDTH} {height}", "width": str(_WIDTH), "height": str(height)}
    svg = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img", **box})
    SubElement(svg, "title").text = title
    SubElement(svg, "style").text = _STYLE
    SubElement(svg, "text", {"x": "4", "y": "20", "class": "title"}).text = title
    _draw_called(svg, root, 0, _HEADING, root.seen)
    indent(svg)
    return tostring(svg, encoding="unicode") + "\n"


def _draw_called(svg: Element, box: Box, left: float, top: float, all_seen: int) -> None:
    for name, called in sorted(box.called.items()):
        width = _WIDTH * called.seen / all_seen
        if width >= _LEAST:
            _draw_box(svg, name, called.seen / all_seen, left, top)
            _draw_called(svg, called, left, top + _ROW, all_seen)
        left += width


def _draw_box(svg: Element, name: str, share: float, left: float, top: float) -> None:
    group = SubElement(svg, "g")
    width = _WIDTH * share
    SubElement(group, "title").text = f"{name}: {share:.1%}"
    place = {"x": f"{left:.1f}", "y": f"{top:.0f}", "width": f"{width:.1f}", "height": str(_ROW - 1)}
    SubElement(group, "rect", place | ({"class": "mirror"} if "(mirror/" in name else {}))
    if (letters := int(width / _LETTER) - 1) > 0:
        SubElement(group, "text", {"x": f"{left + 3:.1f}", "y": f"{top + 12:.0f}"}).text = name[:letters]


def profile(shape: Shape) -> Box:
    """Push the blobs of a shape to a daemon that is watched."""
    with tempfile.TemporaryDirectory(prefix="mirror-") as scratch:
        directory = Path(scratch)
        load = Load(make_blobs(directory / "blobs", shape.count, shape.size), shape.at_once)
        stacks = directory / "stacks"
        with Containerd(directory / "containerd") as host, daemon_on(host, DIRECT, directory / "daemon") as daemon:
            warm(daemon)
            before = _processor_times(daemon.pid)
            with _watched(daemon.pid, stacks):
                clients.push(daemon.host, REPOSITORY, load.blobs, load.at_once)
            took = {thread: time - before.get(thread, 0) for thread, time in _processor_times(daemon.pid).items()}
        return Box.of(weighed(stacks.read_text().splitlines(), took))


def weighed(stacks: Iterable[str], took: Mapping[int, int]) -> Iterator[str]:
    """Stacks that begin with their thread, without it, and seen as often as the processor time of threads has it.

    `took` is that of each thread, by its id. What waits does not count, unless a thread was seen doing nothing else.
    """
    threads: defaultdict[int, list[tuple[str, int]]] = defaultdict(list)
    for line in stacks:
        stack, _, times = line.rpartition(" ")
        first, _, calls = stack.partition(";")
        if calls and (named := _THREAD.match(first)):
            threads[int(named[1])].append((calls, int(times)))
    for thread, seen in threads.items():
        busy = [(calls, times) for calls, times in seen if not calls.endswith(_WAITING)] or seen
        often = sum(times for _, times in busy)
        yield from (f"{calls} {took.get(thread, 0) * times // often}" for calls, times in busy)


def _processor_times(pid: int) -> Mapping[int, int]:
    """What the threads of a process have taken, in nanoseconds."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return {int(task.name): int((task / "schedstat").read_text().split()[0]) for task in tasks}


@contextmanager
def _watched(pid: int, stacks: Path) -> Iterator[None]:
    command = [
        str(Path(sys.executable).with_name("py-spy")),
        "record",
        "--rate",
        _RATE,
        "--nolineno",
        "--threads",
        "--idle",
        "--format",
        "raw",
    ]
    said = stacks.with_name("py-spy.log")
    with said.open("wb") as log:
        watcher = subprocess.Popen([*command, "--output", str(stacks), "--pid", str(pid)], stdout=log, stderr=log)
    until(lambda: b"Sampling process" in said.read_bytes(), "py-spy has begun")
    try:
        yield
    finally:
        watcher.send_signal(signal.SIGINT)
        watcher.wait()


def main() -> None:
    """Draw what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.flame")
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=["one", "small"])
    parser.add_argument("--share", type=float, default=1.0, help="of what is pushed")
    asked = parser.parse_args()
    for name in asked.shapes:
        shape = SHAPES[name].smaller(asked.share)
        drawing = draw(profile(shape), f"The daemon's processor time: {shape.name}")
        (_FIGURES / f"flame-{name}.svg").write_text(drawing)


if __name__ == "__main__":
    main()
