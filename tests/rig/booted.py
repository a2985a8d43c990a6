"""This machine's own Debian booted once more in a container, with the daemon as a service of its systemd.

What is written there is in memory, and gone with it. It has no network but its loopback.
"""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.rig import toml
from tests.rig.process import Process

_ROOT = Path(__file__).parents[2]
_UNITS = (".service", ".socket", ".timer")
_ETC = Path("/etc/registry-mirror")
_ANSWER = 120.0

_PROGRAM = f"""#!/bin/sh
exec env PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/opt/source:/opt/packages \
/usr/bin/python3.{sys.version_info.minor} -m mirror "$@"
"""
# The root is mounted without what is mounted in it, and cannot be named as the root itself.
_BOOT = 'mount --bind / "$1" && shift && exec systemd-nspawn "$@"'


class Booted(Process):
    """A machine whose `/etc/registry-mirror` is the directory `etc`; `shared` is there at the same path."""

    name = "systemd"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.environment["SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"] = "1"
        self.etc, self.shared, self._root = (directory / name for name in ("etc", "shared", "root"))
        for each in (self.etc, self.shared, self._root):
            each.mkdir()
        self._program = directory / "registry-mirror"
        self._program.write_text(_PROGRAM)
        self._program.chmod(0o755)

    def set(self, settings: dict[str, object]) -> None:
        """Write the settings: these, beside an upstream that is away."""
        upstream = {"default_upstream": "registry.example.com"}
        tables = {"upstreams": {"registry.example.com": {"url": "http://127.0.0.1:1"}}}
        (self.etc / "config.toml").write_text(toml.dump({**upstream, **tables, **settings}))

    def command(self) -> list[str]:
        """Boot it, with our units as an operator would install them."""
        seen = {_ROOT: "/opt/source", Path(sysconfig.get_path("purelib")): "/opt/packages"}
        seen[self._program] = "/usr/bin/registry-mirror"
        units = [unit for unit in (_ROOT / "systemd").iterdir() if unit.suffix in _UNITS]
        seen |= {unit: f"/etc/systemd/system/{unit.name}" for unit in units}
        seen |= {
            _ROOT / f"systemd/registry-mirror.{kind}": f"/etc/{kind}.d/registry-mirror.conf"
            for kind in ("sysusers", "tmpfiles")
        }
        binds = [f"--bind-ro={path}:{place}" for path, place in seen.items()]
        binds += [f"--bind={self.etc}:{_ETC}", f"--bind={self.shared}", "--tmpfs=/var/lib/containerd"]
        alone = ["--register=no", "--keep-unit", "--private-network", f"--machine=test-{os.getpid()}"]
        nspawn = [f"--directory={self._root}", "--volatile=overlay", "--boot", *alone, *binds]
        room = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _BOOT, "boot", str(self._root)]
        return [*room, *nspawn, "systemd.unit=basic.target"]

    def is_ready(self) -> bool:
        """Whether its systemd has started all that it is to start."""
        return bool(self._leader()) and self.run("systemctl", "is-system-running").stdout.strip() in {
            "running",
            "degraded",  # whatever else this machine has may not do in a container
        }

    def _leader(self) -> int:
        """The process that is its first one."""
        children = psutil.Process(self.pid).children()
        return next((child.pid for child in children if child.name() == "systemd"), 0)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program in there."""
        env = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_COLORS=0", "SYSTEMD_PAGER=cat"]
        return subprocess.run(
            ["nsenter", "--target", str(self._leader()), "--all", *env, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_ANSWER,
        )

    def systemctl(self, *arguments: str) -> str:
        """Ask its systemd, and return what that prints. Raises RuntimeError with its words."""
        done = self.run("systemctl", *arguments)
        if done.returncode:
            raise RuntimeError(f"systemctl {' '.join(arguments)}: {done.stdout}{done.stderr}\n{self.journal()}")
        return done.stdout.strip()

    def property(self, name: str) -> str:
        """A property of the daemon's service."""
        return self.systemctl("show", "registry-mirror", "--property", name, "--value")

    def journal(self, options: Sequence[str] = ("--unit=registry-mirror",)) -> str:
        """What is in its journal, each entry's message a line."""
        return self.run("journalctl", "--output=cat", *options).stdout

    def drop_in(self, text: str) -> None:
        """Have other values in the daemon's unit from its next start on."""
        place = "/run/systemd/system/registry-mirror.service.d"
        self.run("sh", "-c", f'mkdir -p {place}; printf "%s" "$1" > {place}/test.conf', "sh", text)
        self.systemctl("daemon-reload")
