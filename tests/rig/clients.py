"""Pushes of a layout as it is, for tests of something else; what a client can do besides is in `client`."""

import subprocess
from collections.abc import Sequence

from tests.rig.containerd import Containerd
from tests.rig.images import Layout

_PUSH = 900.0


def skopeo_push(layout: Layout, reference: str, *options: str) -> None:
    """Push a layout to `host:port/repository:tag`, every platform of it, byte for byte.

    Raises:
        RuntimeError: with skopeo's own words.
    """
    exact = ["--all", "--preserve-digests", "--dest-tls-verify=false", *options]
    _run(["skopeo", "copy", *exact, f"oci:{layout.directory}", f"docker://{reference}"])


def ctr_push(client: Containerd, layout: Layout, reference: str, *options: str) -> None:
    """Push a layout to `host:port/repository:tag` by way of the client's own containerd.

    Raises:
        RuntimeError: with ctr's own words.
    """
    client.import_layout(layout.directory, reference.rpartition(":")[0])
    client.ctr("images", "push", "--plain-http", *options, reference, seconds=_PUSH)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_PUSH)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
