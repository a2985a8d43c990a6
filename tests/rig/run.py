"""`make run`: the daemon in the foreground, on the host's containerd when there is one, with a local upstream.

What it acknowledged must not be lost between two runs, so its state stays in `.run` of the checkout.
"""

import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import click

from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.registry import Registry

_HOST_SOCKET = Path("/run/containerd/containerd.sock")
_STATE = Path(__file__).parents[2] / ".run"
_UPSTREAM = "registry.example.com"
_SETTINGS: Mapping[str, Mapping[str, object]] = {
    "log": {"format": "auto"},
    "replication": {"backoff_first": 1.0, "backoff_max": 300.0},
}


def _containerd(running: ExitStack) -> str:
    """The address of the host's containerd, else of a private one."""
    if _HOST_SOCKET.is_socket():
        return str(_HOST_SOCKET)
    return running.enter_context(Containerd(_STATE / "containerd")).address


def _introduce(daemon: Daemon, containerd: str, upstream: Registry) -> None:
    here = f"{daemon.host}/app:v1"
    click.echo(f"""
Listening on {daemon.url}, for the containerd at {containerd}; the upstream {_UPSTREAM} is {upstream.url}.
Push to it:
  buildah push --tls-verify=false IMAGE docker://{here}
  skopeo copy --dest-tls-verify=false oci:DIRECTORY docker://{here}
Run what you pushed:
  ctr --address {containerd} run --rm {_UPSTREAM}/app:v1 NAME
Ctrl-C ends everything.
""")


def main(port: int) -> int:
    """Serve until the daemon ends or someone interrupts; return its exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as running:
        containerd = _containerd(running)
        upstream = running.enter_context(Registry(_STATE / "upstream"))
        daemon = Daemon(_STATE / "daemon", containerd, {_UPSTREAM: upstream.url}, port=port, settings=_SETTINGS)
        running.callback(daemon.close)
        try:
            daemon.start(foreground=True)
            _introduce(daemon, containerd, upstream)
            return daemon.join()
        except KeyboardInterrupt:
            return daemon.stop()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
