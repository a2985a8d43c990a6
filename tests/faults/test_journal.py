"""The daemon on a journal that lets it down: a full disk is outlasted, a damaged file is the end."""

import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mirror.cli.exits import DAMAGED
from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.disk import Disk, damage
from tests.rig.images import Layout, build_image, busybox
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import Answer, Wire, digest_of, finishing

NAME = f"{UPSTREAM}/team/app:v1"
BLOB = b"a blob that comes at the wrong time"


@pytest.fixture
def disk(directory: Path) -> Iterator[Disk]:
    """What the journal is on."""
    with Disk(directory / "disk", 1024 * 1024) as disk:
        yield disk


@pytest.fixture
def journal(disk: Disk) -> Path:
    """The journal."""
    return disk.path / "journal.db"


@pytest.fixture
def daemon(directory: Path, containerd: Containerd, registry: Registry, journal: Path) -> Iterator[Daemon]:
    """The daemon with its journal on the small disk."""
    settings = {"journal": {"path": str(journal)}}
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: registry.url}, settings=settings) as daemon:
        yield daemon
    assert not daemon.complaints()


@pytest.fixture
def layout(directory: Path) -> Layout:
    """An image that can run."""
    return build_image(directory / "layout", [busybox(directory.name)])


def _tags(journal: Path) -> set[str]:
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as connection:
        return {tag for (tag,) in connection.execute("SELECT tag FROM jobs")}


def _leases(containerd: Containerd) -> set[str]:
    return {lease for lease in containerd.leases() if lease.startswith("registry-mirror/")}


def _tag(wire: Wire, tag: str, layout: Layout) -> Answer:
    return wire.push_manifest("team/app", tag, layout.manifest, layout.top.media_type)


def _steps(wire: Wire, location: str, layout: Layout) -> dict[str, Callable[[], Answer]]:
    """All that a push may consist of; `location` is that of a session to finish."""
    return {
        "begin": lambda: wire.ask("POST", "/v2/team/app/blobs/uploads/"),
        "at once": lambda: wire.ask("POST", f"/v2/team/app/blobs/uploads/?digest={digest_of(BLOB)}", BLOB),
        "mount": lambda: wire.ask("POST", f"/v2/team/b/blobs/uploads/?mount={layout.children[0].digest}&from=team/app"),
        "finish": lambda: wire.ask("PUT", finishing(location, digest_of(BLOB)), BLOB),
        "manifest": lambda: _tag(wire, "v2", layout),
    }


def test_pushes_on_a_full_disk(
    daemon: Daemon, containerd: Containerd, disk: Disk, journal: Path, layout: Layout
) -> None:
    """Each step of a push is a 507 that says why, leaves nothing behind, and succeeds once there is room again."""
    wire = Wire(daemon.url)
    wire.push("team/app", "v1", layout)
    for goal in ("unpacked", "replicated"):
        daemon.wait(NAME, goal)
    location = wire.begin("team/app")
    until(lambda: len(_leases(containerd)) == 1, "only the session's lease is left")
    leases = _leases(containerd)
    disk.fill_for(journal)
    steps = _steps(wire, location, layout)
    for step, take in steps.items():
        answer = take()
        assert (step, answer.status, answer.code) == (step, 507, "UNAVAILABLE")
        assert answer.error["message"] == "the journal's disk is full"
        assert "Retry-After" in answer.headers
    assert _leases(containerd) == leases
    assert _tags(journal) == {"v1"}
    assert f"{UPSTREAM}/team/app:v2" not in containerd.images()
    assert wire.ask("GET", "/v2/team/app/manifests/v1").body == layout.manifest
    disk.free()
    assert [take().status for take in steps.values()] == [202, 201, 201, 201, 201]
    daemon.wait(f"{UPSTREAM}/team/app:v2", "replicated")


def test_a_job_that_ends_on_a_full_disk(
    daemon: Daemon, registry: Registry, disk: Disk, journal: Path, layout: Layout
) -> None:
    """How it ended is written as soon as there is room, without a restart, and what waits behind it goes on."""
    registry.pause()
    wire = Wire(daemon.url)
    wire.push("team/app", "v1", layout)
    assert _tag(wire, "v1", layout).status == 201
    daemon.wait(NAME, "unpacked")
    until(lambda: daemon.status()["counts"]["replicate"]["running"], "the job is under way")
    disk.fill_for(journal)
    registry.resume()
    until(lambda: _events(daemon, "journal.unavailable"), "its end cannot be written")
    counts = daemon.status()["counts"]["replicate"]
    assert (counts["running"], counts["pending"], counts["done"]) == (1, 1, 0)
    disk.free()
    daemon.wait(NAME, "replicated")
    until(lambda: daemon.status()["counts"]["replicate"]["done"] == 2, "both jobs are done")
    until(
        lambda: len(_events(daemon, "journal.unavailable")) == len(_events(daemon, "journal.available")),
        "whoever had to wait goes on",
    )
    assert len(_events(daemon, "task.started", kind="replicate")) == 2


def _events(daemon: Daemon, event: str, **fields: str) -> list[dict[str, object]]:
    return [line for line in daemon.log_lines() if line["event"] == event and fields.items() <= line.items()]


@pytest.mark.parametrize("sound", [0, 4096], ids=["from the first page on", "behind the first page"])
def test_a_damaged_journal(daemon: Daemon, journal: Path, layout: Layout, sound: int) -> None:
    """Who asks gets a 503, and the daemon ends with a line that names the file; another start ends in the same way."""
    wire = Wire(daemon.url)
    wire.push("team/app", "v1", layout)
    for goal in ("unpacked", "replicated"):
        daemon.wait(NAME, goal)
    damage(journal, sound)
    answer = _tag(wire, "v2", layout)
    assert (answer.status, answer.code) == (503, "UNAVAILABLE")
    assert daemon.join() == DAMAGED
    line = daemon.log_lines()[-1]
    assert (line["event"], line["level"]) == ("daemon.failed", "critical")
    assert f"{journal} is damaged" in line["reason"]
    done = subprocess.run(daemon.command(), capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, f"{journal} is damaged" in done.stderr) == (DAMAGED, True)
