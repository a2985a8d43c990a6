"""Replication as an operator sees it: with the whole daemon, and every request that the upstream gets counted."""

import json
import random
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.exchange import Exchange
from tests.rig.faults import PassOn, Reply
from tests.rig.images import MEDIA
from tests.rig.proxy import Proxy
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import Wire, digest_of, manifest

Settings = dict[str, dict[str, object]]

CONFIG = b"{}"
BEGIN = "/blobs/uploads/$"
UPLOAD = "/blobs/uploads/."
OCI = MEDIA["oci"]
ONE_BY_ONE: Settings = {"replication": {"jobs": 1, "blobs": 1, "eager": False}}
SIDE_BY_SIDE: Settings = {"replication": {"jobs": 8, "blobs": 1, "eager": False}}
_PATIENCE = 120.0


@dataclass(frozen=True)
class Hold:
    """A fault: requests wait until they are let go."""

    over: Event = field(default_factory=Event)

    def serve(self, exchange: Exchange) -> None:
        """Wait first."""
        self.over.wait(_PATIENCE)
        PassOn().serve(exchange)


@dataclass(frozen=True)
class Line:
    """A daemon, and the proxy between it and its upstream."""

    daemon: Daemon
    proxy: Proxy
    registry: Registry

    @property
    def wire(self) -> Wire:
        """The way to the daemon."""
        return Wire(self.daemon.url)

    def push(self, repository: str, *layers: bytes, tag: str = "v1") -> bytes:
        """Push an image; returns its manifest."""
        for blob in (CONFIG, *layers):
            self.wire.push_blob(repository, blob)
        raw = manifest(CONFIG, *layers)
        assert self.wire.push_manifest(repository, tag, raw).status == 201
        return raw

    def put(self, repository: str, document: dict[str, Any], tag: str | None = None) -> str:
        """Put a manifest, by its digest or under a tag; returns the digest."""
        raw = json.dumps({"schemaVersion": 2, "mediaType": OCI.manifest, **document}).encode()
        assert self.wire.push_manifest(repository, tag or digest_of(raw), raw).status == 201
        return digest_of(raw)

    def arrive(self, repository: str, *references: str) -> None:
        """Wait until manifests are upstream; a tag is the last that a job brings there."""
        for reference in references or ("v1",):
            until(lambda at=reference: self.registry.manifest(repository, at), f"{reference} is upstream")  # type: ignore[misc]

    def sent(self, repository: str) -> list[int]:
        """Of each request that carried bytes of a blob, how many."""
        return [request.taken for request in self.proxy.seen("PUT|PATCH", repository + UPLOAD) if request.size]

    def starts(self) -> list[str]:
        """The images whose replication was begun, in order."""
        lines = [line for line in self.daemon.log_lines() if line["event"] == "task.started"]
        return [line["image"].removeprefix(f"{UPSTREAM}/") for line in lines if line["kind"] == "replicate"]


@contextmanager
def _line(scratch: Path, containerd: Containerd, settings: Settings) -> Iterator[Line]:
    directory = Path(tempfile.mkdtemp(dir=scratch))
    with Registry(directory / "upstream") as registry, Proxy(registry.host) as proxy:
        upstreams = {UPSTREAM: {"url": proxy.url, "delete": True}}
        with Daemon(directory / "daemon", containerd.address, upstreams, settings=settings) as daemon:
            yield Line(daemon, proxy, registry)
        assert not daemon.complaints()


@pytest.fixture(scope="module")
def line(scratch: Path, containerd: Containerd) -> Iterator[Line]:
    """One for all tests that need no settings of their own: each has a repository of its own."""
    with _line(scratch, containerd, {}) as line:
        yield line


Lines = Callable[[Settings], AbstractContextManager[Line]]


@pytest.fixture
def lines(scratch: Path, containerd: Containerd) -> Lines:
    """Makes one with settings."""
    return lambda settings: _line(scratch, containerd, settings)


@pytest.fixture
def repository() -> str:
    return f"team/{secrets.token_hex(4)}"


def noise(size: int) -> bytes:
    """Bytes that no other test has."""
    return random.Random(secrets.token_bytes(8)).randbytes(size)  # noqa: S311 - they need not be secret


class TestBlobs:
    def test_a_second_repository_mounts_them(self, line: Line, repository: str) -> None:
        """What the upstream has in one repository gets into another without a byte being sent."""
        layer, other = noise(2_000_000), f"{repository}-copy"
        line.push(repository, layer)
        line.arrive(repository)
        raw = line.push(other, layer)
        line.arrive(other)
        assert line.sent(other) == []
        asked = [request.target for request in line.proxy.seen("POST", other + BEGIN)]
        assert len(asked) == 2
        assert all("mount=" in target and "from=" in target for target in asked)
        stored = line.registry.manifest(other, "v1")
        assert stored is not None
        assert stored.raw == raw
        assert line.registry.blob(other, digest_of(layer)) == layer

    def test_two_jobs_need_the_same(self, line: Line, repository: str) -> None:
        """Jobs that wait out an outage together send a blob that all of them have once."""
        layer, names = noise(2_000_000), [f"{repository}-{number}" for number in range(4)]
        line.registry.kill()
        for name in names:
            line.push(name, layer, name.encode())
        line.registry.start()
        for name in names:
            line.arrive(name)
        assert sum(line.sent(name).count(len(layer)) for name in names) == 1
        assert all(line.registry.blob(name, digest_of(layer)) == layer for name in names)

    def test_a_head_start(self, line: Line, repository: str) -> None:
        """A blob is upstream before anybody pushed a manifest that names it, and is not sent again for that."""
        layer = noise(2_000_000)
        line.wire.push_blob(repository, layer)
        until(lambda: line.registry.blob(repository, digest_of(layer)), "the blob is upstream")
        line.push(repository, layer)
        line.arrive(repository)
        assert line.sent(repository).count(len(layer)) == 1

    def test_without_a_head_start(self, lines: Lines, repository: str) -> None:
        """Where the settings do not want it, a blob waits for its manifest."""
        layer = noise(1000)
        with lines(ONE_BY_ONE) as line:
            line.wire.push_blob(repository, layer)
            line.push(repository, noise(1000))
            line.arrive(repository)
            assert line.proxy.seen(path=digest_of(layer)) == []
            assert line.registry.blob(repository, digest_of(layer)) is None
            line.push(repository, layer, tag="v2")
            line.arrive(repository, "v2")


class TestOrder:
    def test_the_newest_deploy_first(self, lines: Lines, repository: str) -> None:
        """Whoever deploys waits for nobody's backlog; every fourth turn is the oldest's, so that it comes to an end."""
        with lines(ONE_BY_ONE) as line:
            hold = Hold()
            line.proxy.arm(hold, "HEAD", "/blobs/", times=1)
            tags = ["runs", *"abcde"]
            for tag in tags:
                line.push(repository, tag.encode(), tag=tag)
                until(line.starts, "the first is under way")
            hold.over.set()
            line.arrive(repository, *tags)
            assert [image.rpartition(":")[2] for image in line.starts()] == ["runs", "e", "d", "a", "c", "b"]

    def test_each_repository_has_its_share(self, lines: Lines, repository: str) -> None:
        """The many images of one do not hold up the one of another, though that was pushed before them."""
        busy, quiet = f"{repository}-busy", f"{repository}-quiet"
        with lines({"replication": {"jobs": 2, "eager": False}}) as line:
            holds, layers = [Hold(), Hold()], [noise(10), noise(11)]
            for number, (hold, layer) in enumerate(zip(holds, layers, strict=True)):
                line.proxy.arm(hold, "HEAD", f"/blobs/{digest_of(layer)}", times=1)
                line.push(busy, layer, tag=f"runs-{number}")
            until(lambda: len(line.starts()) == len(holds), "both are under way")
            line.push(quiet, noise(10))
            for number in range(3):
                line.push(busy, noise(10), tag=f"waits-{number}")
            holds[0].over.set()
            line.arrive(quiet)
            assert line.starts()[2] == f"{quiet}:v1"
            holds[1].over.set()

    def test_small_blobs_first(self, lines: Lines, repository: str) -> None:
        """While one blob takes its time others queue: the small ones go next, then those of the newest image."""
        sizes = {"runs": 3_000_000, "old": 2_000_000, "new": 2_500_000, "small": 1000}
        with lines(SIDE_BY_SIDE) as line:
            Wire(line.registry.url).push_blob(repository, CONFIG)
            hold = Hold()
            line.proxy.arm(hold, "PUT", UPLOAD)
            for tag, size in sizes.items():
                self._queue(line, repository, tag, noise(size))
            assert line.daemon.status()["counts"]["replicate"]["running"] == len(sizes)
            hold.over.set()
            line.arrive(repository, *sizes)
            assert line.sent(repository) == [sizes[tag] for tag in ("runs", "small", "new", "old")]

    @staticmethod
    def _queue(line: Line, repository: str, tag: str, layer: bytes) -> None:
        """Push an image, and wait until the upstream has said that it needs the layer."""
        line.push(repository, layer, tag=tag)
        asked = f"/blobs/{digest_of(layer)}"
        until(lambda: any(request.status for request in line.proxy.seen("HEAD", asked)), "it is asked for")


class TestReferrers:
    @staticmethod
    def listed(line: Line, repository: str, subject: str) -> list[dict[str, Any]]:
        """What the upstream's list for a subject says."""
        stored = line.registry.manifest(repository, subject.replace(":", "-"))
        entries: list[dict[str, Any]] = json.loads(stored.raw)["manifests"] if stored else []
        return entries

    @staticmethod
    def refer(line: Line, repository: str, subject: bytes, kind: str) -> str:
        """Push something that refers to an image; returns its digest."""
        pointer = {"mediaType": OCI.manifest, "digest": digest_of(subject), "size": len(subject)}
        config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(CONFIG), "size": len(CONFIG)}
        about = {"artifactType": f"application/vnd.example.{kind}", "annotations": {"org.example.kind": kind}}
        return line.put(repository, {"config": config, "layers": [], "subject": pointer, **about})

    def test_a_list_that_clients_find(self, line: Line, repository: str) -> None:
        """An upstream that lists no referrers has them under the tag of the spec; a deleted one is taken off."""
        subject = line.push(repository, noise(10))
        pushed = {kind: self.refer(line, repository, subject, kind) for kind in ("scan", "signature")}
        until(lambda: len(self.listed(line, repository, digest_of(subject))) == len(pushed), "both are listed")
        listed = self.listed(line, repository, digest_of(subject))
        assert {entry["digest"]: (entry["artifactType"], entry["annotations"]) for entry in listed} == {
            digest: (f"application/vnd.example.{kind}", {"org.example.kind": kind}) for kind, digest in pushed.items()
        }
        assert line.wire.ask("DELETE", f"/v2/{repository}/manifests/{pushed['scan']}").status == 202
        until(lambda: line.registry.manifest(repository, pushed["scan"]) is None, "it is deleted upstream")
        assert [entry["digest"] for entry in self.listed(line, repository, digest_of(subject))] == [pushed["signature"]]

    def test_the_subject_first(self, line: Line, repository: str) -> None:
        """A referrer waits for a subject that is parked, and follows it when a person lets it go on."""
        line.proxy.arm(Reply(403), "PUT", f"{repository}/manifests/v1$")
        subject = line.push(repository, noise(10), tag="v1")
        (parked,) = until(lambda: self._tasks(line, repository, "parked"), "the subject is parked")
        referrer = self.refer(line, repository, subject, "scan")
        line.push(repository, noise(10), tag="later")
        line.arrive(repository, "later")
        assert [task["image"] for task in self._tasks(line, repository, "pending")] == [
            f"{UPSTREAM}/{repository}@{referrer}"
        ]
        assert line.registry.manifest(repository, referrer) is None
        assert line.daemon.cli("jobs", "retry", str(parked["job"])).returncode == 0
        until(lambda: self.listed(line, repository, digest_of(subject)), "it is listed")
        order = [request.path.rpartition("/")[2] for request in line.proxy.seen("PUT", f"{repository}/manifests/")]
        assert order[-3:] == ["v1", referrer, digest_of(subject).replace(":", "-")]

    @staticmethod
    def _tasks(line: Line, repository: str, state: str) -> list[dict[str, Any]]:
        tasks = [task for task in line.daemon.status()["tasks"] if task["image"].startswith(f"{UPSTREAM}/{repository}")]
        return [task for task in tasks if (task["kind"], task["state"]) == ("replicate", state)]


def test_a_registry_that_was_taken_out_of_the_settings(directory: Path, containerd: Containerd) -> None:
    """What still waits for it is parked with the reason, and images of others go on."""
    with Registry(directory / "upstream") as registry:
        registry.kill()
        both = {UPSTREAM: registry.url, "other.example.com": registry.url}
        with Daemon(directory / "daemon", containerd.address, both) as daemon:
            _push(daemon)
        registry.start()
        with Daemon(directory / "daemon", containerd.address, {"other.example.com": registry.url}) as daemon:
            _push(daemon)
            until(lambda: registry.manifest("team/app", "v1"), "the other is upstream")
            until(lambda: daemon.status()["counts"]["replicate"]["parked"], "it is parked")
            reasons = [task["reason"] for task in daemon.status()["tasks"] if task["state"] == "parked"]
            assert reasons == [f"registry {UPSTREAM} is not configured any more"]
        assert not daemon.complaints()


def _push(daemon: Daemon) -> None:
    wire = Wire(daemon.url)
    wire.push_blob("team/app", CONFIG)
    assert wire.push_manifest("team/app", "v1", manifest(CONFIG)).status == 201
