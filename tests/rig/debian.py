"""Root directories with releases of Debian, each made once.

`make clients` takes newer clients from one, `make matrix` a newer containerd, and the tests of the package boot one.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_CONTAINERD = ("containerd", "runc")
_CLIENTS = (
    "buildah",
    "crane",
    "docker-buildx",
    "docker-cli",
    "docker.io",
    "oras",
    "podman",
    "skopeo",
)
# What our package depends on, and what a host has anyway.
_HOST = ("containerd", "dbus", "python3", "runc", "systemd-sysv")
PACKAGES: Mapping[str, Sequence[str]] = {
    "bookworm": _HOST,
    "trixie": _CONTAINERD,
    "testing": (*_CONTAINERD, *_CLIENTS),
}
"""What is wanted of each release."""


def make(root: Path, suite: str, packages: Sequence[str]) -> None:
    """Make the root of a release, from where this machine gets its own Debian.

    One that an earlier run did not finish, or that was made with other packages, goes first.

    Raises:
        subprocess.CalledProcessError: a step failed; it has printed why.
    """
    stamp, wanted = root / "etc/made-for-tests", " ".join([suite, *packages])
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["debootstrap", "--variant=minbase", suite, str(root), _archive()], check=True)
    _install(root, packages)
    stamp.write_text(wanted)


def _archive() -> str:
    """The address of the Debian archive, as apt knows it."""
    command = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", "Label: Debian"]
    sites = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    if not sites:
        raise RuntimeError("apt has no lists of Debian: run `apt-get update`")
    return sites[0]


def _install(root: Path, packages: Sequence[str]) -> None:
    """Install the packages; nothing is started in a root without an init, and the lists of a mirror may be old."""
    apt = ["chroot", str(root), "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--yes", "--quiet"]
    subprocess.run([*apt, "--option", "Acquire::Check-Valid-Until=false", "update"], check=True)
    subprocess.run([*apt, "install", "--no-install-recommends", *packages], check=True)
    subprocess.run([*apt, "clean"], check=True)


if __name__ == "__main__":
    make(Path(sys.argv[2]).absolute(), sys.argv[1], PACKAGES[sys.argv[1]])
