"""`make clients`: a root directory with Debian testing, for its newer versions of the clients; made once."""

import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = (
    "buildah",
    "containerd",
    "crane",
    "docker-buildx",
    "docker-cli",
    "docker.io",
    "oras",
    "podman",
    "runc",
    "skopeo",
)


def make(root: Path) -> None:
    """Make the root, from where this machine gets its own Debian; what an earlier run did not finish goes first.

    Raises:
        subprocess.CalledProcessError: a step failed; it has printed why.
    """
    if _stamp(root).exists():
        return
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["debootstrap", "--variant=minbase", "testing", str(root), _archive()], check=True)
    _install(root)
    _stamp(root).touch()


def _archive() -> str:
    """The address of the Debian archive, as apt knows it."""
    command = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", "Label: Debian"]
    sites = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    if not sites:
        raise RuntimeError("apt has no lists of Debian: run `apt-get update`")
    return sites[0]


def _install(root: Path) -> None:
    """Install the clients; nothing is started in a root without an init, and the lists of a mirror may be old."""
    apt = ["chroot", str(root), "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--yes", "--quiet"]
    subprocess.run([*apt, "--option", "Acquire::Check-Valid-Until=false", "update"], check=True)
    subprocess.run([*apt, "install", "--no-install-recommends", *PACKAGES], check=True)
    subprocess.run([*apt, "clean"], check=True)


def _stamp(root: Path) -> Path:
    return root / "etc/registry-mirror-clients"


if __name__ == "__main__":
    make(Path(sys.argv[1]).absolute())
