"""How soon the daemon answers again after it was killed, with images in its journal that wait for an upstream.

docker-registry, which has nothing to look after, is there for the time that a program takes to start.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench import machine
from bench.measure import alternate
from bench.report import Limit, Measure, Report
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.ports import free_port
from tests.rig.process import Process
from tests.rig.registry import Registry
from tests.rig.wire import Wire, manifest

_AT_ONCE = 8
OURS, PEER = "registry-mirror", "docker-registry"
_TARGETS = [Limit(1.5, OURS)]


def measure(images: int, rounds: int, directory: Path) -> Measure:
    """Kill both in turn, the daemon with so many `images` on their way to an upstream that is away."""
    with ExitStack() as running:
        containerd = running.enter_context(Containerd(directory / "containerd"))
        registry = running.enter_context(Registry(directory / "registry"))
        away = {"registry.example.com": f"http://127.0.0.1:{free_port()}"}
        daemon = running.enter_context(Daemon(directory / "daemon", containerd.address, away))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(partial(_push_image, Wire(daemon.url)), range(images)))
        ways = {OURS: partial(_restart, daemon), PEER: partial(_restart, registry)}
        name = f"kill -9 to the first answer, {images} images in the journal"
        return Measure(name, "s", alternate(ways, rounds), OURS, _TARGETS)


def _push_image(wire: Wire, number: int) -> None:
    config, layer = b"{}", str(number).encode()
    for blob in (config, layer):
        wire.push_blob("bench", blob)
    answer = wire.push_manifest("bench", f"v{number}", manifest(config, layer))
    if answer.status != 201:  # noqa: PLR2004 - Created
        raise RuntimeError(f"not pushed: {answer}")


def _restart(process: Process) -> float:
    began = time.monotonic()
    process.kill()
    process.start()
    return time.monotonic() - began


def main(arguments: Sequence[str]) -> Report:
    """Kill it some times."""
    parser = argparse.ArgumentParser(prog="python -m bench restart")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=10)
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="mirror-") as directory:
        measures = [measure(asked.images, asked.rounds, Path(directory))]
    return Report("restart", "After a crash", machine.describe(), measures)
