"""Completion by real shells, of what the command has and of what the daemon knows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.rig.daemon import Daemon
from tests.rig.registry import Registry
from tests.rig.terminal import Terminal
from tests.rig.until import until
from tests.rig.wire import Wire, manifest

CTRL_U = "\x15"
_BASH = ["bash", "--norc", "--noprofile", "-i"]
_ZSH = ["zsh", "--no-rcs", "-i"]
_ZSH_READY = "autoload -U compinit; compinit -u -D; unsetopt prompt_sp; "


@pytest.fixture
def environment(directory: Path) -> dict[str, str]:
    """Where shells find the command and its settings, whatever their user has."""
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "REGISTRY_MIRROR_CONFIG": str(directory / "daemon" / "config.toml"),
        "HOME": str(directory),
        "PS1": "ready> ",
    }


@pytest.fixture
def job(daemon: Daemon, registry: Registry) -> str:
    """One that waits, of `team/app:v1`."""
    registry.kill()
    wire = Wire(daemon.url)
    wire.push_blob("team/app", b"{}")
    wire.push_manifest("team/app", "v1", manifest(b"{}"))
    return str(until(lambda: daemon.status()["tasks"], "there is a job")[0]["job"])


def _completes(shell: Terminal, typed: str, completed: str) -> None:
    """What is typed becomes that by Tab; the line is taken away again."""
    before = len(shell.text)
    shell.type(f"registry-mirror {typed}\t")
    until(lambda: f"registry-mirror {completed}" in _line(shell.text[before:]), f"{typed} is completed")
    shell.type(CTRL_U)


def _line(text: str) -> str:
    """A line as it was edited: what stands before backspaces is gone, and so are bells."""
    line = ""
    for char in text.replace("\a", ""):
        line = line[:-1] if char == "\b" else line + char
    return line


@pytest.mark.parametrize(("command", "ready"), [(_BASH, ""), (_ZSH, _ZSH_READY)], ids=["bash", "zsh"])
def test_at_a_prompt(daemon: Daemon, job: str, environment: dict[str, str], command: list[str], ready: str) -> None:
    """Commands, options and their values; images with and without their registry, though they have colons; jobs."""
    with Terminal(command, columns=200, environment=environment) as shell:
        shell.type(f"{ready}source <(registry-mirror completion {command[0]}); echo rea''dy\n")
        until(lambda: "\nready" in shell.text, "the script is read")
        _completes(shell, "comp", "completion ")
        _completes(shell, "jobs re", "jobs retry ")
        _completes(shell, "status --wa", "status --watch ")
        _completes(shell, "wait a:b --for unp", "wait a:b --for unpacked ")
        _completes(shell, "status te", "status team/app:v1 ")
        _completes(shell, "status team/app:v", "status team/app:v1 ")
        _completes(shell, f"status {UPSTREAM}/t", f"status {UPSTREAM}/team/app:v1 ")
        _completes(shell, "jobs show ", f"jobs show {job} ")
        daemon.stop()
        _completes(shell, "status te\tx", "status tex")
        shell.type("exit\n")
        assert shell.end() == 0


def test_fish(daemon: Daemon, job: str, environment: dict[str, str]) -> None:
    """The same by fish, which says what it would offer; without a daemon nothing, and no word of it."""

    def offered(line: str) -> list[str]:
        script = f"registry-mirror completion fish | source; complete -C '{line}'"
        done = subprocess.run(
            ["fish", "--no-config", "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return done.stdout.splitlines()

    assert [line.split("\t")[0] for line in offered("registry-mirror comp")] == ["completion"]
    assert offered("registry-mirror status team/app:v") == ["team/app:v1"]
    assert [line.split("\t")[0] for line in offered("registry-mirror jobs cancel ")] == [job]
    daemon.stop()
    assert offered("registry-mirror status team/app:v") == []
