"""What an operator sees at a terminal, and a program in a pipe: status, images, jobs, and what goes wrong."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import IS_DIRECT, Daemon
from tests.rig.images import Layout, build_image, busybox
from tests.rig.registry import Registry
from tests.rig.terminal import Terminal
from tests.rig.until import until
from tests.rig.wire import Wire

NAME = f"{UPSTREAM}/team/app:v1"
CTRL_C = "\x03"


@pytest.fixture
def layout(directory: Path) -> Layout:
    """An image that can run."""
    return build_image(directory / "layout", [busybox(directory.name)])


@pytest.fixture
def slow(directory: Path, containerd: Containerd, registry: Registry) -> Iterator[Daemon]:
    """A daemon whose next attempt is days away, but for those after an outage."""
    settings = {"replication": {"backoff_first": 1e6, "backoff_max": 1e6, "eager": False}}
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: registry.url}, settings=settings) as daemon:
        yield daemon
    assert not daemon.complaints()


def _command(daemon: Daemon, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "mirror", *arguments, "--config", str(daemon.config)]


def _json(daemon: Daemon, *arguments: str) -> Any:  # noqa: ANN401 - it is JSON
    done = daemon.cli(*arguments, "--json")
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def _at_once(daemon: Daemon, *arguments: str, columns: int = 80, **environment: str) -> Terminal:
    """What a command prints at a terminal, to its end."""
    with Terminal(_command(daemon, *arguments), columns=columns, environment=environment) as terminal:
        assert terminal.end() == 0, terminal.text
    return terminal


def test_one_screen(slow: Daemon, registry: Registry, layout: Layout) -> None:
    """What is stuck comes first, all fits on the screen, and colours are for terminals that want them.

    In a pipe the same is there, and nothing of it is cut.
    """
    assert "pushes are taken, nothing is stuck" in _at_once(slow, "status").text
    registry.kill()
    Wire(slow.url).push("team/app", "v1", layout)
    slow.wait(NAME, "unpacked")
    failures = until(lambda: slow.status()["failures"], "an attempt failed")
    assert (failures[0]["image"], failures[0]["kind"], failures[0]["state"]) == (NAME, "replicate", "pending")
    seen = _at_once(slow, "status")
    lines = seen.text.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 24
    assert seen.is_coloured
    for text in (
        "failed, and will be tried again",
        "containerd: ",
        "disk: ",
        "replicate:  1 pending",
        "unpack:     1 done",
        "not over yet",
        NAME,
    ):
        assert text in seen.text, seen.text
    assert not _at_once(slow, "status", NO_COLOR="1").is_coloured
    piped = slow.cli("status").stdout
    assert "\x1b" not in piped
    assert failures[0]["reason"] in piped
    status = slow.status()
    told = status["containerd"]
    assert (told["namespace"], told["snapshotter"], told["reason"]) == ("default", "overlayfs", "")
    assert told["import"] == ("direct" if IS_DIRECT else "stream")
    assert {disk["of"] for disk in status["disks"]} == {"containerd", "journal"}
    assert all(0 < disk["free"] < disk["total"] for disk in status["disks"])


def test_watching(daemon: Daemon, registry: Registry, layout: Layout) -> None:
    """A terminal is drawn anew as things change; in a pipe each change is a line. Ctrl-C is a good end for both."""
    heeding = ["env", "--default-signal=INT", *_command(daemon, "status", "--watch", "--json")]
    with (
        subprocess.Popen(heeding, stdout=subprocess.PIPE, text=True) as piped,
        Terminal(_command(daemon, "status", "--watch")) as terminal,
    ):
        assert piped.stdout is not None
        assert json.loads(piped.stdout.readline())["tasks"] == []
        until(lambda: "nothing is stuck" in terminal.text, "it is drawn")
        registry.kill()
        Wire(daemon.url).push("team/app", "v1", layout)
        until(lambda: f"upstream {UPSTREAM} is away" in terminal.text, "it is drawn again")
        assert NAME in terminal.text
        assert any(json.loads(line)["tasks"] for line in piped.stdout)
        daemon.stop()
        until(lambda: "no daemon answers" in terminal.text, "it is told")
        daemon.start()
        terminal.type(CTRL_C)
        assert terminal.end() == 0
        assert terminal.raw.endswith("\x1b[?25h\x1b[?1049l"), "the cursor is back, and what was there before"
        piped.send_signal(signal.SIGINT)
        assert piped.wait(60) == 0


def test_following_jobs(daemon: Daemon, registry: Registry, layout: Layout) -> None:
    """Bars at a terminal and lines in a pipe, of each change of a job to its end, which the exit code tells."""
    registry.kill()
    Wire(daemon.url).push("team/app", "v1", layout)
    daemon.wait(NAME, "unpacked")
    job = str(_json(daemon, "status", NAME)["job"])
    one = _command(daemon, "jobs", "show", job, "--follow")
    with (
        Terminal(_command(daemon, "jobs", "list", "--follow")) as everything,
        Terminal(one) as terminal,
        subprocess.Popen(one, stdout=subprocess.PIPE, text=True) as piped,
    ):
        assert piped.stdout is not None
        assert piped.stdout.readline().startswith(f"{job}  {NAME}  ")
        until(lambda: NAME in terminal.text, "the job is shown")
        until(lambda: "IMAGE" in everything.text, "the list is shown")
        registry.start()
        assert terminal.end() == 0
        assert f"{job}  {NAME}  replicated" in terminal.text.replace("\n", "")
        assert piped.stdout.read().splitlines()[-1].startswith(f"{job}  {NAME}  replicated")
        until(lambda: "replicated" in everything.text, "it is told, too")
        everything.type(CTRL_C)
        assert everything.end() == 0


def test_everything_of_one_job(slow: Daemon, registry: Registry, layout: Layout) -> None:
    """Its image, both of its tasks, and what it waits for; of a job that is not there, that. Given up, it is a 1."""
    registry.kill()
    Wire(slow.url).push("team/app", "v1", layout)
    slow.wait(NAME, "unpacked")
    until(lambda: slow.status()["failures"], "an attempt failed")
    job = _json(slow, "jobs", "show", "1")
    assert (job["image"], job["digest"], job["attempts"]) == (NAME, layout.digest, 1)
    assert {task["kind"]: task["state"] for task in job["tasks"]} == {"replicate": "pending", "unpack": "done"}
    said = slow.cli("jobs", "show", "1").stdout
    assert re.search(r"^replicate +pending +1 +in [0-9]+[dhms]\S* +\S", said, re.MULTILINE), said
    unknown = slow.cli("jobs", "show", "99")
    assert (unknown.returncode, unknown.stderr.count("\n"), "no such job" in unknown.stderr) == (1, 1, True), unknown
    assert _json(slow, "jobs", "cancel", "1") == {"jobs": [{"job": 1, "tasks": ["replicate"], "refusal": None}]}
    assert slow.cli("jobs", "show", "1", "--follow").returncode == 1


def test_images(daemon: Daemon, registry: Registry, layout: Layout, directory: Path) -> None:
    """What is here, how far it is and why it stays; by name, by repository, by pattern, and page by page."""
    wire = Wire(daemon.url)
    for repository, tag in (("team/app", "v1"), ("team/app", "v2"), ("team/other", "v1")):
        wire.push(repository, tag, layout)
        for goal in ("unpacked", "replicated"):
            daemon.wait(f"{repository}:{tag}", goal)
    registry.kill()
    late = build_image(directory / "late", [busybox("late")])
    wire.push("else/where", "v3", late)
    daemon.wait("else/where:v3", "unpacked")
    images = {image["image"]: image for image in _json(daemon, "images")["images"]}
    assert list(images) == [
        f"{UPSTREAM}/{name}" for name in ("else/where:v3", "team/app:v1", "team/app:v2", "team/other:v1")
    ]
    assert (images[NAME]["phase"], images[NAME]["unpack"], images[NAME]["kept"]) == ("replicated", "done", [])
    assert images[f"{UPSTREAM}/else/where:v3"]["kept"] == ["not upstream yet"]
    sizes = [child.size for child in layout.children]
    assert images[NAME]["bytes"] == sum(sizes) + len(layout.manifest)
    for patterns, count in (
        (["team/app"], 2),
        (["*:v1"], 2),
        ([f"{UPSTREAM}/team/*"], 3),
        (["app"], 0),
        (["e*", "*:v2"], 2),
    ):
        assert len(_json(daemon, "images", *patterns)["images"]) == count, patterns
    page = daemon.cli("images", "team/*", "--limit", "2")
    assert [line.split()[0] for line in page.stdout.splitlines()] == [NAME, f"{UPSTREAM}/team/app:v2"]
    assert layout.digest in page.stdout
    assert f"after {UPSTREAM}/team/app:v2" in page.stderr
    seen = _at_once(daemon, "images").text
    assert max(map(len, seen.splitlines())) <= 80
    assert (f"{UPSTREAM}/team/app\n  v1   {layout.digest[7:19]}" in seen, layout.digest in seen) == (True, False)


def test_several_images_are_waited_for(daemon: Daemon, registry: Registry, layout: Layout) -> None:
    """A line for each, as JSON if that is wanted; one that is not there in time is a 3, as long as none is a 1."""
    wire = Wire(daemon.url)
    wire.push("team/app", "v1", layout)
    daemon.wait(NAME, "replicated")
    registry.kill()
    wire.push("team/app", "v2", layout)
    done = daemon.cli("wait", NAME, "team/app:v2", "--for", "replicated", "--timeout", "0.2", "--json")
    assert done.returncode == 3
    assert [json.loads(line)["reached"] for line in done.stdout.splitlines()] == [True, False]
    with Terminal(_command(daemon, "wait", "team/app:v2", "--for", "replicated")) as terminal:
        until(lambda: "replicating" in terminal.text, "it says how far it is")
        registry.start()
        assert terminal.end() == 0
    assert terminal.text.endswith("replicate done\n")


def test_a_drain_and_limits_for_programs(daemon: Daemon) -> None:
    """Each step of a drain is a line of JSON; limits are one object."""
    assert _json(daemon, "limits") == {"shared": 0, "upstreams": {UPSTREAM: 0}}
    done = daemon.cli("drain", "--json")
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, steps[-1], "backlog" in steps[0]) == (0, {"ending": "drained"}, True)
    assert _json(daemon, "drain", "--undo") == {"draining": False}


def test_no_daemon(directory: Path) -> None:
    """One line says what to do about it."""
    socket = directory / "admin.sock"
    for arguments in (
        ["status"],
        ["images"],
        ["jobs", "list"],
        ["check"],
        ["drain"],
        ["wait", "a:b", "--for", "unpacked"],
    ):
        command = [sys.executable, "-m", "mirror", *arguments, "--socket", str(socket)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"registry-mirror: no daemon answers at {socket}: systemctl status registry-mirror\n"


def test_an_operator_who_may_not(scratch: Path, daemon: Daemon) -> None:
    """He is told who may, whether he sees the socket or not."""
    for directory in (scratch, daemon.directory.parent, daemon.directory):
        directory.chmod(0o755)
    socket = daemon.directory / "admin.sock"
    code = (
        "import os, sys; from mirror.cli import main; import mirror.cli.status, mirror.cli.limits; "
        f"os.setgroups([]); os.setgid(65534); os.setuid(65534); main(['limits', '--socket', {str(socket)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done
    assert "permission denied: run it as root, or as one of the group in admin.group" in done.stderr


def test_what_is_typed_often_starts_quickly(daemon: Daemon) -> None:
    """`status` in a pipe imports nothing that is large and that it does not need."""
    code = "import sys; from mirror.cli import main; main(['status'], standalone_mode=False); print(*sys.modules)"
    env = os.environ | {"REGISTRY_MIRROR_CONFIG": str(daemon.config)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    imported = set(done.stdout.splitlines()[-1].split())
    assert "mirror.cli.status" in imported
    assert not imported & {"aiohttp", "asyncio", "grpc", "rich.console", "sqlite3", "structlog", "mirror.cli.serve"}
