"""A fresh Debian 12 with systemd and containerd, booted in a container of its own: nothing of it reaches the host.

What is written there is gone with it. It has no network but its loopback. Its root is made once, by `tests.rig.debian`,
and is only read.
"""

import os
import secrets
import shutil
import subprocess
from pathlib import Path

import psutil

from tests.rig.debian import PACKAGES, make
from tests.rig.process import Process

_SUITE = "bookworm"
_ROOT = Path(__file__).parents[2] / ".run/debian-bookworm"
_ANSWER = 120.0
_ALONE = ("--register=no", "--keep-unit", "--private-network")
_UNIFIED = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}  # cgroups as a host with Debian 12 has them
_SETTLED = {"running", "degraded"}
# In a mount namespace of its own, with which the overlay goes away, however this ends.
_BOOT = """
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
shift 2
exec systemd-nspawn "$@"
"""


def why_not() -> str:
    """Why no machine can be booted here; empty if one can. Makes the root first, unless an earlier run did."""
    if os.geteuid():
        return "a booted Debian needs root"
    absent = [program for program in ("debootstrap", "systemd-nspawn") if not shutil.which(program)]
    if absent:
        return f"not installed: {', '.join(absent)}"
    try:
        make(_ROOT, _SUITE, PACKAGES[_SUITE])
    except (subprocess.CalledProcessError, RuntimeError) as error:
        return f"no root with Debian could be made: {error}"
    probe = ["systemd-nspawn", *_ALONE, "--quiet", "--read-only", f"--directory={_ROOT}", "true"]
    done = subprocess.run(probe, env=os.environ | _UNIFIED, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return f"systemd-nspawn cannot: {done.stderr.decode().strip()}" if done.returncode else ""


class Machine(Process):
    """A machine of its own; `shared` is the same directory in there.

    Its containerd stores on a real disk: overlayfs does not take an overlay for the upper layer of another one.
    """

    name = "systemd"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.shared = directory / "shared"
        self._overlay, self._store = directory / "overlay", directory / "containerd"
        for each in (self.shared, self._store, *(self._overlay / name for name in ("upper", "work", "root"))):
            each.mkdir(parents=True)

    def command(self) -> list[str]:
        """Boot it."""
        binds = [f"--bind={self.shared}", f"--bind={self._store}:/var/lib/containerd"]
        name = f"--machine=test-{secrets.token_hex(4)}"
        nspawn = ["--quiet", f"--directory={self._overlay}/root", "--boot", *_ALONE, name, *binds]
        room = ["unshare", "--mount", "--propagation", "private"]
        environment = ["env", *(f"{key}={value}" for key, value in _UNIFIED.items())]
        return [*environment, *room, "sh", "-ec", _BOOT, "boot", str(_ROOT), str(self._overlay), *nspawn]

    def is_ready(self) -> bool:
        """Whether its systemd has started all that it is to start."""
        return bool(self._leader()) and self.run("systemctl", "is-system-running").stdout.strip() in _SETTLED

    def _leader(self) -> int:
        """Its first process; 0 before there is one."""
        children = psutil.Process(self.pid).children()
        return next((child.pid for child in children if child.name() == "systemd"), 0)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program in there."""
        environment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_COLORS=0", "SYSTEMD_PAGER=cat", "HOME=/root"]
        return subprocess.run(
            ["nsenter", "--target", str(self._leader()), "--all", "env", "-i", *environment, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_ANSWER,
        )

    def do(self, *command: str) -> str:
        """Run a program in there that has to succeed, and return what it prints, of both kinds.

        Raises:
            RuntimeError: with its words and the end of the journal.
        """
        done = self.run(*command)
        said = done.stdout + done.stderr
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}\n{said}\n{self.journal('-n50')}")
        return said

    def journal(self, *filters: str) -> str:
        """What is in its journal, each entry's message a line."""
        return self.run("journalctl", "--output=cat", "--no-pager", *filters).stdout

    def state(self, unit: str) -> str:
        """Whether a unit is `active`, `inactive`, `failed` …."""
        return self.run("systemctl", "is-active", unit).stdout.strip()
