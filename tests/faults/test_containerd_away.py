"""A containerd that comes and goes: requests are refused meanwhile, and then all goes on by itself."""

import random
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Thread

import pytest

from tests.conftest import UPSTREAM
from tests.faults.host import Host, Pushed
from tests.rig.containerd import Containerd
from tests.rig.daemon import IS_DIRECT, Daemon
from tests.rig.images import File, Layer, build_image, busybox
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import Answer, Wire, digest_of, finishing

DATA = random.Random(11).randbytes(4_000_000)  # noqa: S311 - the same in each run
AWAY = (503, "UNAVAILABLE")
LARGE = Layer([File("zeros", bytes(2_000_000))])
"""More than is unpacked before it stops."""


def _refused(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.code


def _begins(wire: Wire, repository: str) -> bool:
    return wire.ask("POST", f"/v2/{repository}/blobs/uploads/").status == 202


def _offset(host: Host, location: str) -> int:
    """How many bytes a session holds, which is not on the wire when it is one or none."""
    ask = partial(host.wire.ask, "GET", location)
    answer = until(lambda: ask().headers.get("Range", ""), "the session can be asked for")
    end = int(answer.removeprefix("0-"))
    return end + 1 if end else 0


def test_killed_before_a_push_and_before_its_manifest(host: Host) -> None:
    """Each request is a 503 that says when to come back, and succeeds then; no lease of it is left."""
    image = Pushed.fresh()
    host.containerd.kill()
    answer = host.wire.ask("POST", f"/v2/{host.repository}/blobs/uploads/")
    assert _refused(answer) == AWAY
    assert int(answer.headers["Retry-After"]) > 0
    host.containerd.start()
    until(lambda: _begins(host.wire, host.repository), "an upload begins")
    host.push_blobs(image)
    host.containerd.kill()
    assert _refused(host.tag(image)) == AWAY
    host.containerd.start()
    until(lambda: host.tag(image).status == 201, "the manifest is taken")
    host.settled()
    assert host.is_upstream(image)


def test_killed_in_the_middle_of_a_chunk(host: Host) -> None:
    """What it had counts: the client goes on from the offset that it is told.

    The direct way needs no containerd for that: it takes the whole chunk.
    """
    location = host.wire.begin(host.repository)

    def body() -> Iterator[bytes]:
        yield DATA[:2_000_000]
        until(host.containerd.ingests, "bytes arrive in containerd")
        host.containerd.kill()
        yield DATA[2_000_000:]

    assert _refused(host.wire.ask("PATCH", location, body())) == ((202, "") if IS_DIRECT else AWAY)
    host.containerd.start()
    until(lambda: _begins(host.wire, host.repository), "an upload begins")
    start = _offset(host, location)
    assert start == len(DATA) if IS_DIRECT else start <= 2_000_000
    answer = host.wire.ask("PUT", finishing(location, digest_of(DATA)), DATA[start:])
    assert answer.status == 201
    assert host.containerd.content(digest_of(DATA)) == DATA


def test_killed_while_it_commits(host: Host) -> None:
    """Whether it had done so or not, the blob is here when a push of it has succeeded."""
    data = Pushed.fresh(4_000_000).layer
    location, answers = host.wire.begin(host.repository), list[Answer]()
    blobs = host.containerd.directory / "root/io.containerd.content.v1.content/blobs/sha256"
    assert host.wire.ask("PATCH", location, data).status == 202
    last = Thread(target=lambda: answers.append(host.wire.ask("PUT", finishing(location, digest_of(data)), b"")))
    last.start()
    until((blobs / digest_of(data).partition(":")[2]).exists, "it has renamed the file")
    host.containerd.kill()
    last.join()
    assert _refused(answers[0]) in {(201, ""), AWAY}
    host.containerd.start()
    until(lambda: _begins(host.wire, host.repository), "an upload begins")
    host.wire.push_blob(host.repository, data)
    host.containerd.collect_garbage()
    assert host.blob(data, "GET").body == data


def test_killed_while_it_unpacks(host: Host, directory: Path) -> None:
    """It is unpacked all the same, and of the first try nothing is left."""
    layout = build_image(directory / "layout", [busybox(host.repository, "none"), LARGE])

    def halves() -> set[str]:
        return {key for key in host.containerd.snapshots() if key.startswith("extract-")}

    host.containerd.halt.touch()
    host.wire.push(host.repository, "v1", layout)
    until(halves, "a layer is being unpacked")
    host.containerd.kill()
    host.containerd.halt.unlink()
    host.containerd.start()
    host.daemon.wait(host.name(), "unpacked")
    assert host.containerd.run_container(host.name()).strip() == host.repository
    host.settled()
    host.containerd.collect_garbage()
    assert not halves()


def _ends(wire: Wire, location: str, data: bytes, start: int) -> bool:
    """Whether a session takes its last chunk, or has it from an earlier try that came no further."""
    last = finishing(location, digest_of(data))
    answer = wire.ask("PUT", last, data[start:], {"Content-Range": f"{start}-{len(data) - 1}"})
    if answer.headers.get("Range") == f"0-{len(data) - 1}":
        answer = wire.ask("PUT", last, b"")
    return answer.status == 201


class Upgraded(Containerd):
    """The next version: other flags, its state elsewhere, and a new socket at the same path."""

    def _settings(self) -> dict[str, object]:
        return {**super()._settings(), "state": str(self.directory / "run")}

    def command(self) -> list[str]:
        """Start it in another way."""
        return [*super().command(), "--log-level", "info"]


@pytest.fixture
def young(scratch: Path) -> Iterator[Containerd]:
    """A containerd that is not started yet."""
    young = Containerd(Path(tempfile.mkdtemp(dir=scratch)))
    yield young
    young.close()


def test_started_last_and_upgraded_in_the_middle_of_a_push(
    directory: Path, young: Containerd, registry: Registry
) -> None:
    """Requests are refused until it is there; then it is stopped, its state moved, and started with other flags.

    It is found again each time: the upload that was open goes on, and the image arrives.
    """
    image = Pushed.fresh(2_000_000)
    with Daemon(directory / "daemon", young.address, {UPSTREAM: registry.url}) as daemon:
        wire = Wire(daemon.url)
        assert _refused(wire.ask("POST", "/v2/team/app/blobs/uploads/")) == AWAY
        young.start()
        until(lambda: _begins(wire, "team/app"), "an upload begins")
        wire.push_blob("team/app", image.config)
        location = wire.begin("team/app")
        assert wire.ask("PATCH", location, image.layer[:1_000_000]).status == 202
        young.stop()
        with Upgraded(young.directory):
            until(lambda: _ends(wire, location, image.layer, 1_000_000), "it goes on")
            assert wire.push_manifest("team/app", "v1", image.raw).status == 201
            until(lambda: registry.manifest("team/app", "v1"), "the tag is upstream")
        assert not daemon.complaints()
    assert registry.blob("team/app", digest_of(image.layer)) == image.layer
