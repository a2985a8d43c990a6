"""Nothing that was acknowledged is lost, whatever dies in between."""

import os
import random
import signal
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import Layer, Layout, Noise, build_image, busybox
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import Wire, digest_of

NAME = f"{UPSTREAM}/team/app:v1"
DATA = random.Random(7).randbytes(4_000_000)  # noqa: S311 - the same in each run


@pytest.fixture
def layout(directory: Path) -> Layout:
    """An image that can run, with a layer that takes a moment to unpack and to send."""
    return build_image(directory / "layout", [busybox(directory.name), Layer([Noise("noise", 30_000_000)], "gzip")])


def _is_upstream(registry: Registry, layout: Layout) -> bool:
    """Whether the tag is there; if it is, all of the image must be, byte for byte."""
    stored = registry.manifest("team/app", "v1")
    for child in layout.children if stored else []:
        assert registry.blob("team/app", child.digest) == layout.blob(child.digest).read_bytes()
    return stored is not None and stored.raw == layout.manifest


def _nothing_is_left(containerd: Containerd) -> bool:
    containerd.collect_garbage()
    leases = {lease for lease in containerd.leases() if lease.startswith("registry-mirror/")}
    return not leases | containerd.ingests() | {key for key in containerd.snapshots() if key.startswith("extract-")}


def test_killed_after_the_201_with_the_upstream_down(
    daemon: Daemon, containerd: Containerd, registry: Registry, layout: Layout
) -> None:
    """The image arrives, though daemon and containerd were killed and all that nobody holds was collected since."""
    registry.kill()
    assert Wire(daemon.url).push("team/app", "v1", layout) == layout.digest
    daemon.wait(NAME, "unpacked")
    daemon.kill()
    containerd.ctr("images", "rm", "--sync", NAME)  # now the job's lease alone holds it
    containerd.kill()
    containerd.start()
    containerd.collect_garbage()
    daemon.start()
    registry.start()
    daemon.wait(NAME, "replicated")
    assert _is_upstream(registry, layout)
    until(lambda: _nothing_is_left(containerd), "the lease is released")


@pytest.mark.parametrize("event", ["push.acknowledged", "task.started", "task.finished"])
def test_killed_while_it_works(
    event: str, daemon: Daemon, containerd: Containerd, registry: Registry, layout: Layout
) -> None:
    """Killed in the middle of unpacking and replicating, it starts over what was not finished and leaves nothing."""
    registry.pause()  # it takes connections and answers nothing: the job is under way for certain
    Wire(daemon.url).push("team/app", "v1", layout)
    until(lambda: [line for line in daemon.log_lines() if line["event"] == event], event)
    daemon.kill()
    registry.resume()
    daemon.start()
    daemon.wait(NAME, "replicated")
    daemon.wait(NAME, "unpacked")
    assert _is_upstream(registry, layout)
    assert containerd.run_container(NAME)
    until(lambda: _nothing_is_left(containerd), "no lease, ingest or half snapshot")


@pytest.mark.parametrize("who", ["daemon", "containerd"])
def test_killed_between_two_chunks(who: str, daemon: Daemon, containerd: Containerd) -> None:
    """An upload session outlives the daemon and containerd: what was acknowledged of it is still there."""
    wire = Wire(daemon.url)
    location = wire.begin("team/app")
    wire.ask("PATCH", location, DATA[:1_000_000], {"Content-Range": "0-999999"})
    part = daemon if who == "daemon" else containerd
    part.kill()
    part.start()
    until(lambda: wire.ask("GET", location).headers.get("Range") == "0-999999", "the session is as it was")
    rest = {"Content-Range": f"1000000-{len(DATA) - 1}"}
    until(lambda: wire.ask("PATCH", location, DATA[1_000_000:], rest).status == 202, "the next chunk is taken")
    # Where chunks are files, it is only now that containerd has to be there again.
    end = f"{location}?digest={digest_of(DATA)}"
    until(lambda: wire.ask("PUT", end, b"").status == 201, "the blob is taken")
    assert containerd.content(digest_of(DATA)) == DATA


def test_killed_in_the_middle_of_a_chunk(daemon: Daemon, containerd: Containerd) -> None:
    """What a dead daemon had handed to containerd counts; the client goes on from the offset it is told."""
    wire = Wire(daemon.url)
    location = wire.begin("team/app")

    def body() -> Iterator[bytes]:
        yield DATA[:2_000_000]
        until(containerd.ingests, "bytes arrive in containerd")
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.join()
        yield DATA[2_000_000:]

    with pytest.raises((HTTPException, OSError)):
        wire.ask("PATCH", location, body())
    daemon.start()

    def goes_on() -> bool:
        """Send the rest; what the dead daemon had sent may still be on its way to where the session stands."""
        end = int(wire.ask("GET", location).headers["Range"].removeprefix("0-"))
        assert end < 2_000_000
        start = end + 1 if end else 0
        rest = {"Content-Range": f"{start}-{len(DATA) - 1}"}
        return wire.ask("PATCH", location, DATA[start:], rest).status == 202

    until(goes_on, "the client goes on")
    assert wire.ask("PUT", f"{location}?digest={digest_of(DATA)}", b"").status == 201


def test_two_pushes_of_one_tag(directory: Path, daemon: Daemon, registry: Registry) -> None:
    """The later push wins upstream too, though both wait out the same outage; the earlier is there by digest."""
    first = build_image(directory / "first", [busybox("first")])
    second = build_image(directory / "second", [busybox("second")])
    registry.kill()
    wire = Wire(daemon.url)
    for layout in (first, second):
        wire.push("team/app", "v1", layout)
    daemon.kill()
    daemon.start()
    registry.start()
    for layout in (first, second):
        daemon.wait(f"{UPSTREAM}/team/app@{layout.digest}", "replicated")
    assert _is_upstream(registry, second)
    earlier = registry.manifest("team/app", first.digest)
    assert earlier is not None
    assert earlier.raw == first.manifest


def test_an_orphaned_and_a_missing_lease(
    daemon: Daemon, containerd: Containerd, registry: Registry, layout: Layout
) -> None:
    """At its start the daemon ends job leases that no job needs, and makes again one that somebody removed."""
    registry.kill()
    Wire(daemon.url).push("team/app", "v1", layout)
    daemon.wait(NAME, "unpacked")
    daemon.kill()
    containerd.ctr("leases", "create", "--id", "registry-mirror/job/orphan")
    wanted = {lease for lease in containerd.leases() if lease.startswith("registry-mirror/job/")} - {
        "registry-mirror/job/orphan"
    }
    for lease in wanted:
        containerd.ctr("leases", "rm", "--sync", lease)
    daemon.start()
    until(
        lambda: {lease for lease in containerd.leases() if lease.startswith("registry-mirror/job/")} == wanted,
        "the leases are those of the jobs",
    )


def test_a_paused_containerd(daemon: Daemon, containerd: Containerd) -> None:
    """While containerd hangs the version check answers, and when it goes on the push under way succeeds."""
    wire = Wire(daemon.url)
    location = wire.begin("team/app")

    def body() -> Iterator[bytes]:
        yield DATA[:2_000_000]
        until(containerd.ingests, "bytes arrive in containerd")
        containerd.pause()
        yield DATA[2_000_000:3_000_000]
        assert wire.ask("GET", "/v2/").status == 200
        containerd.resume()
        yield DATA[3_000_000:]

    assert wire.ask("PUT", f"{location}?digest={digest_of(DATA)}", body()).status == 201
    assert containerd.content(digest_of(DATA)) == DATA
