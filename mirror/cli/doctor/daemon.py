"""The daemon itself: whether it runs, answers and takes pushes; and what systemd knows of it."""

import json
import shutil
import socket
import subprocess
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from mirror.cli.doctor.checks import Check, Finding, broken, hint, key_of, ok, skipped, warning
from mirror.cli.doctor.processes import named, peer_of

_PATIENCE = 3.0
_UNIT = "registry-mirror.service"
_BOOTED = Path("/run/systemd/system")
_FACTS = "LoadState,ActiveState,SubState,UnitFileState,Result,ExecMainStatus,NRestarts"
_CODES = {"2": "its settings are wrong", "4": "its journal is damaged"}
_LOOK = f"journalctl --unit {_UNIT} --lines 50"

ANSWERS = key_of("daemon.answers")


class DaemonChecks:
    """The daemon behind the admin socket; `pid` is the process that listens there, once it has answered."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reasons: list[str] = []
        self.pid: int | None = None

    def checks(self) -> list[Check]:
        """What there is to see of it."""
        return [
            Check("daemon.answers", self._answers, seconds=2 * _PATIENCE),
            Check("daemon.takes pushes", self._takes_pushes, needs=[ANSWERS]),
        ]

    def _answers(self) -> Finding:
        """Whether a daemon listens at the admin socket, and answers."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_PATIENCE)
            try:
                connection.connect(str(self._path))
                self._ask(connection)
            except (OSError, HTTPException, ValueError) as error:
                return self._trouble(error)
        return ok(f"{named(self.pid or 0)} answers at {self._path}")

    def _ask(self, connection: socket.socket) -> None:
        asking = HTTPConnection("registry-mirror")
        asking.sock = connection
        asking.request("GET", "/ready")
        self._reasons = json.loads(asking.getresponse().read())["reasons"]
        self.pid = peer_of(connection)

    def _trouble(self, error: Exception) -> Finding:
        match error:
            case FileNotFoundError():
                return skipped(f"no daemon runs: there is no {self._path}", "systemctl start registry-mirror")
            case PermissionError():
                return broken(f"this user may not connect to {self._path}", "run this as root, or set admin.group")
            case ConnectionRefusedError():
                seen = f"no daemon runs: {self._path} is left over from one that ended"
                return warning(seen, f"start it, which makes it anew; why it ended: {_LOOK}")
            case TimeoutError():
                return broken(
                    f"{named(self._peer())} listens at {self._path} and does not answer", f"{_LOOK}; restart it"
                )
            case _:
                return broken(f"what answers at {self._path} is no registry-mirror: {error}", "set admin.socket")

    def _peer(self) -> int:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(self._path))
            return peer_of(connection)

    def _takes_pushes(self) -> Finding:
        """Whether it is ready, in its own words."""
        if self._reasons:
            return warning(
                f"pushes are refused: {'; '.join(self._reasons)}", "mend what is named; registry-mirror status"
            )
        return ok("pushes are taken")


def unit_check() -> Check:
    """What systemd says of the unit: a hint, as others may look after the daemon."""
    return Check("daemon.unit", _unit, seconds=2 * _PATIENCE)


def _unit() -> Finding:
    systemctl = shutil.which("systemctl")
    if systemctl is None or not _BOOTED.is_dir():
        return skipped("systemd does not run here")
    command = [systemctl, "show", _UNIT, f"--property={_FACTS}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE)  # noqa: S603 - ours
    return unit_finding(dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line))


def unit_finding(facts: Mapping[str, str]) -> Finding:
    """What the properties of the unit mean (systemctl(1), "show")."""
    state = f"{_UNIT} is {facts.get('ActiveState', 'unknown')} ({facts.get('SubState', '')})"
    if facts.get("LoadState") == "not-found":
        return hint(f"there is no {_UNIT}", "install it, so that the daemon is started again when it dies")
    if facts.get("ActiveState") == "failed":
        code = facts.get("ExecMainStatus", "")
        why = _CODES.get(code, f"{facts.get('Result', '')}, exit status {code}")
        return hint(f"{state}: {why}", f"{_LOOK}; then systemctl restart {_UNIT}")
    if facts.get("UnitFileState") != "enabled":
        return hint(f"{state}, and not started with the host", f"systemctl enable {_UNIT}")
    return ok(f"{state}, started {facts.get('NRestarts', '0')} times again")
