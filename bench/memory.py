"""How much memory the daemon needs for one large layer, and how long its push takes beside docker-registry's.

`python -m bench.memory [GiB]` pushes the same image with skopeo to the daemon and to docker-registry, in turn.
"""

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.rig.clients import skopeo_push
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import Layer, Layout, Noise, build_image
from tests.rig.registry import Registry

_UPSTREAM = "registry.example.com"
_MIB = 1 << 20


@dataclass(frozen=True)
class Figures:
    """What a push took: seconds until the client was done, and the peak of the server's memory in bytes."""

    seconds: float
    peak: int


@dataclass(frozen=True)
class Result:
    """The daemon's figures, its peak once the image was unpacked and replicated too, and the peer's figures."""

    daemon: Figures
    peak_at_the_end: int
    peer: Figures


def measure(size: int, directory: Path) -> Result:
    """Push an image with one layer of `size` bytes to both, and let the daemon finish its work with it."""
    layout = build_image(directory / "layout", [Layer([Noise("noise", size)], "none")])
    with (
        Containerd(directory / "containerd") as containerd,
        Registry(directory / "upstream") as upstream,
        Registry(directory / "peer") as peer,
        Daemon(directory / "daemon", containerd.address, {_UPSTREAM: upstream.url}) as daemon,
    ):
        beside = _push(layout, peer)
        ours = _push(layout, daemon)
        for goal in ("unpacked", "replicated"):
            daemon.wait("bench:v1", goal, seconds=600)
        return Result(ours, daemon.peak_memory(), beside)


def _push(layout: Layout, server: Registry | Daemon) -> Figures:
    began = time.monotonic()
    skopeo_push(layout, f"{server.host}/bench:v1")
    return Figures(time.monotonic() - began, server.peak_memory())


def main() -> None:
    """Print the figures."""
    size = int(float(sys.argv[1]) * 1024 * _MIB) if len(sys.argv) > 1 else 2048 * _MIB
    with tempfile.TemporaryDirectory(prefix="mirror-") as directory:
        result = measure(size, Path(directory))
    print(f"one layer of {size // _MIB} MiB, pushed with skopeo")
    print(f"registry-mirror: {result.daemon.seconds:6.1f} s, peak memory {result.daemon.peak / _MIB:.0f} MiB")
    print(f"  unpacked and replicated too: peak memory {result.peak_at_the_end / _MIB:.0f} MiB")
    print(f"docker-registry: {result.peer.seconds:6.1f} s, peak memory {result.peer.peak / _MIB:.0f} MiB")
    print(f"time, registry-mirror / docker-registry: {result.daemon.seconds / result.peer.seconds:.2f}")


if __name__ == "__main__":
    main()
