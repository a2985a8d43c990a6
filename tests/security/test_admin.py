"""The admin socket: for root and a group, and nowhere else."""

import grp
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mirror.http.admin
from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import AdminWire
from tests.security.conftest import wire_of
from tests.security.people import PEOPLE

NOBODY = 65534
_CONNECT = """
import os, socket, sys
os.setgroups([int(group) for group in sys.argv[2:]])
os.setgid(65534)
os.setuid(65534)
socket.socket(socket.AF_UNIX).connect(sys.argv[1])
"""


def _socket(daemon: Daemon) -> Path:
    return daemon.directory / "admin.sock"


def _connects(daemon: Daemon, *groups: int) -> bool:
    """Whether somebody who is not root can connect, as a member of some groups."""
    command = [sys.executable, "-c", _CONNECT, str(_socket(daemon)), *map(str, groups)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode or "PermissionError" in done.stderr, done.stderr
    return not done.returncode


@pytest.fixture
def grouped(scratch: Path, directory: Path, containerd: Containerd, registry: Registry) -> Iterator[Daemon]:
    """A daemon whose operators are a group."""
    scratch.chmod(0o755)
    directory.chmod(0o755)
    group = grp.getgrgid(NOBODY).gr_name
    settings = {"admin": {"group": group}}
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: registry.url}, settings=settings) as daemon:
        daemon.directory.chmod(0o755)
        yield daemon


def test_the_group_may(grouped: Daemon) -> None:
    """Its members may connect, and nobody else but root."""
    found = _socket(grouped).stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o660, os.geteuid(), NOBODY)
    assert _connects(grouped)  # whose own group it is


def test_others_may_not(scratch: Path, daemon: Daemon) -> None:
    """Without a group it is root's alone."""
    scratch.chmod(0o755)
    for directory in (daemon.directory.parent, daemon.directory):
        directory.chmod(0o755)
    assert stat.S_IMODE(_socket(daemon).stat().st_mode) == 0o660
    assert not _connects(daemon)


def test_who_asked_is_in_the_log(daemon: Daemon) -> None:
    """By process, user and group; a push has none of that."""
    AdminWire(_socket(daemon)).ask("GET", "/status?image=nobody/pushed-it")
    wire_of(daemon, PEOPLE["alice"]).ask("GET", "/v2/")

    def lines(path: str) -> list[dict[str, object]]:
        return [line for line in daemon.log_lines() if line.get("path") == path]

    until(lambda: lines("/status") and lines("/v2/"), "both are logged")
    asked = lines("/status")[-1]
    assert (asked["pid"], asked["uid"], asked["gid"]) == (os.getpid(), os.geteuid(), os.getegid())
    assert "pid" not in lines("/v2/")[-1]


def _admin_routes() -> list[tuple[str, str]]:
    """Every route of the admin application, as its modules name them."""
    text = "".join(file.read_text() for file in Path(mirror.http.admin.__file__).parent.glob("*.py"))
    found = re.findall(r'web\.(get|post|delete|put)\("(/(?!v2|token)[^"]*)"', text)
    return [(method.upper(), path) for method, path in found]


@pytest.mark.parametrize(("method", "path"), _admin_routes())
def test_it_is_nowhere_else(daemon: Daemon, method: str, path: str) -> None:
    """No listener has any of it."""
    answer = wire_of(daemon, PEOPLE["alice"]).ask(method, path)
    assert (answer.status, answer.code) == (404, "UNSUPPORTED")


def test_there_is_something_that_is_nowhere_else() -> None:
    """The test above is about all of it."""
    assert {("GET", "/status"), ("POST", "/jobs/cancel"), ("POST", "/evict"), ("DELETE", "/drain")} <= set(
        _admin_routes()
    )
