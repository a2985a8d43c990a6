"""What others, crashes and disks do to the ledger: `registry-mirror check` says it, and mends it."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.registry import Registry
from tests.rig.sse import Event, events
from tests.rig.until import until
from tests.rig.wire import AdminWire, Wire, digest_of, manifest

REPOSITORY = "team/app"


class Rig:
    """A daemon that has all the time until its next round, and one image that is upstream."""

    def __init__(self, daemon: Daemon, containerd: Containerd, registry: Registry) -> None:
        self.daemon, self.containerd, self.registry = daemon, containerd, registry
        self.wire = Wire(daemon.url)

    def push(self, tag: str) -> tuple[str, str]:
        """Push an image of its own; returns the digests of its manifest and its layer."""
        config, layer = b"{}", f"{tag} in {self.daemon.directory}".encode()
        for blob in (config, layer):
            self.wire.push_blob(REPOSITORY, blob)
        raw = manifest(config, layer)
        assert self.wire.push_manifest(REPOSITORY, tag, raw).status == 201
        return digest_of(raw), digest_of(layer)

    def check(self, query: str = "") -> list[tuple[str, str, bool]]:
        """What a check finds."""
        admin = AdminWire(self.daemon.directory / "admin.sock")
        *told, ending = events(admin.ask("POST", f"/check?{query}").body.splitlines())
        assert ending == Event("ending", {"reason": ""})
        found = [event.data for event in told if event.name == "finding"]
        return [(one["kind"], one["subject"], one["mended"]) for one in found]

    def mends(self, *wanted: tuple[str, str], query: str = "") -> None:
        """A check mends this, unless a round in the background was faster; and then there is nothing any more."""
        found = self.check(f"repair&{query}")
        lines = [line for line in self.daemon.log_lines() if line["event"] == "reconcile.finding"]
        by_itself = {(line["finding"], line["subject"], line["mended"]) for line in lines}
        assert {(*one, True) for one in wanted} <= {*found, *by_itself}
        assert self.check(query) == []


@pytest.fixture
def rig(directory: Path, containerd: Containerd, registry: Registry) -> Iterator[Rig]:
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: registry.url}) as daemon:
        yield Rig(daemon, containerd, registry)
    assert not daemon.complaints()


def job_lease(rig: Rig) -> str:
    """The lease of a job, once it is the only one."""

    def leases() -> list[str]:
        return [lease for lease in rig.containerd.leases() if lease.startswith("registry-mirror/job/")]

    until(lambda: len(leases()) == 1, "the job before it has let go")
    return leases()[0]


def test_what_a_check_finds(rig: Rig) -> None:
    """Each kind of finding by itself, on one daemon: told and mended."""
    _, layer = rig.push("v1")
    name = f"{UPSTREAM}/{REPOSITORY}:v1"
    rig.daemon.wait(name, "replicated")
    until(lambda: not rig.check(), "all is well")

    rig.containerd.ctr("leases", "create", "--id", "registry-mirror/job/orphan")
    rig.mends(("orphan lease", "registry-mirror/job/orphan"))

    with closing(sqlite3.connect(rig.daemon.directory / "journal.db")) as journal:
        location = rig.wire.begin(REPOSITORY)
        assert rig.wire.ask("PATCH", location, b"some").status == 202
        upload = location.partition("?")[0].rpartition("/")[2]
        with journal:
            journal.execute("DELETE FROM uploads WHERE id = ?", (upload,))
    session = f"registry-mirror/upload/{upload}"
    rig.mends(("orphan lease", session), ("orphan ingest", session))

    rig.registry.pause()
    rig.push("v2")
    lease = job_lease(rig)
    rig.containerd.ctr("leases", "delete", lease)
    rig.mends(("missing lease", lease))
    rig.registry.resume()
    rig.daemon.wait(f"{UPSTREAM}/{REPOSITORY}:v2", "replicated")

    rig.containerd.damage(layer)
    rig.mends(("damage", layer), query="deep")

    rig.containerd.ctr("content", "rm", layer)
    rig.mends(("stale grants", f"{UPSTREAM}/{REPOSITORY}"))


@pytest.mark.slow
def test_a_tag_that_others_made(rig: Rig) -> None:
    """It gets upstream without anybody asking for it, soon after it was made."""
    digest, _ = rig.push("v1")
    rig.daemon.wait(f"{UPSTREAM}/{REPOSITORY}:v1", "replicated")
    rig.containerd.ctr("images", "tag", f"{UPSTREAM}/{REPOSITORY}:v1", f"{UPSTREAM}/{REPOSITORY}:v2")
    stored = until(lambda: rig.registry.manifest(REPOSITORY, "v2"), "the tag is upstream", 90.0)
    assert stored is not None
    assert stored.digest == digest


def test_what_a_person_reads(rig: Rig) -> None:
    """A line for each finding, and a summary; what is damaged and nowhere else stays, and is told."""
    rig.registry.kill()
    _, layer = rig.push("v1")
    assert rig.daemon.cli("check").stdout == "nothing was found\n"
    rig.containerd.damage(layer)
    done = rig.daemon.cli("check", "--deep", "--repair")
    assert done.returncode == 1
    line, summary = done.stdout.splitlines()
    assert line.startswith(f"damage: {layer}: other bytes on the disk; in {UPSTREAM}/{REPOSITORY} (not mended: ")
    assert summary == "1 findings, 0 mended"
    done = rig.daemon.cli("check", "--deep", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["subject"] == layer


def test_containerd_is_away(rig: Rig) -> None:
    """A check says so, and ends with 1."""
    rig.containerd.kill()
    done = rig.daemon.cli("check")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("registry-mirror: the check was broken off: containerd")
    rig.containerd.start()
