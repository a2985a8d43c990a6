"""A clock that is set while the daemon works, to the daemon's own time of day; containerd's goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.faults.host import Pushed
from tests.rig.containerd import Containerd
from tests.rig.faketime import ClockedDaemon
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import Wire, digest_of, finishing

NAME = f"{UPSTREAM}/team/app:v1"


@pytest.fixture
def daemon(directory: Path, containerd: Containerd, registry: Registry) -> Iterator[ClockedDaemon]:
    """The daemon, whose clock can be set; what it tried in containerd at its start is behind it, and collected."""
    with ClockedDaemon(directory / "daemon", containerd.address, {UPSTREAM: registry.url}) as daemon:
        until(
            lambda: [line for line in daemon.log_lines() if line["event"] == "import.chosen"], "it has tried the store"
        )
        containerd.collect_garbage()
        yield daemon
    assert not daemon.complaints()


def _push(wire: Wire, image: Pushed) -> None:
    for blob in image.blobs:
        wire.push_blob("team/app", blob)
    assert wire.push_manifest("team/app", "v1", image.raw).status == 201


@pytest.mark.slow
def test_set_forward_during_a_push(daemon: ClockedDaemon, containerd: Containerd, registry: Registry) -> None:
    """The leases of what was not acknowledged have run out by that: the client hears what is gone, and begins anew.

    That containerd's clock jumps two days ahead of the daemon's, and the daemon's then follows, is the host's set
    forward: the leases are those of the day before yesterday.
    """
    wire, image = Wire(daemon.url), Pushed.fresh()
    daemon.clock.set(-2)
    wire.push_blob("team/app", image.config)
    location = wire.begin("team/app")
    assert wire.ask("PATCH", location, image.layer[:100_000]).status == 202
    daemon.clock.set(0)
    containerd.collect_garbage()
    answer = wire.ask("PUT", finishing(location, digest_of(image.layer)), image.layer[100_000:])
    assert (answer.status, answer.code) == (404, "BLOB_UPLOAD_UNKNOWN")
    wire.push_blob("team/app", image.layer)
    answer = wire.push_manifest("team/app", "v1", image.raw)
    assert (answer.status, answer.code) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert answer.error["detail"] == digest_of(image.config)
    _push(wire, image)
    daemon.wait(NAME, "replicated")
    assert registry.blob("team/app", digest_of(image.layer)) == image.layer


@pytest.mark.slow
def test_set_during_an_outage(daemon: ClockedDaemon, containerd: Containerd, registry: Registry) -> None:
    """Set forward or back, what was acknowledged is held and is tried again as soon as the upstream is there.

    An upload that was begun before the clock was set back goes on.
    """
    wire, upload = Wire(daemon.url), Pushed.fresh().layer
    for days in (30, -30):
        image = Pushed.fresh()
        registry.kill()
        _push(wire, image)
        until(lambda: daemon.status()["tasks"][0]["attempts"], "the job has failed")
        daemon.clock.set(days)
        if days > 0:
            location = wire.begin("team/app")
            assert wire.ask("PATCH", location, upload[:100_000]).status == 202
        containerd.ctr("images", "rm", "--sync", NAME)
        containerd.collect_garbage()
        registry.start()
        daemon.wait(NAME, "replicated")
        assert registry.blob("team/app", digest_of(image.layer)) == image.layer
    assert wire.ask("PUT", finishing(location, digest_of(upload)), upload[100_000:]).status == 201
    assert containerd.content(digest_of(upload)) == upload
