"""A blob on its way here from the upstream, and what may die meanwhile."""

import os
import secrets
import signal
from collections.abc import Iterator
from http.client import IncompleteRead
from pathlib import Path
from threading import Event

import pytest

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.faults import HoldAnswer
from tests.rig.proxy import Proxy
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import Wire, digest_of

MIB = 1 << 20
DATA = secrets.token_bytes(16 * MIB)
PATH = f"/v2/team/app/blobs/{digest_of(DATA)}"


@pytest.fixture
def proxy(registry: Registry) -> Iterator[Proxy]:
    """The way to the upstream, which has the blob."""
    Wire(registry.url).push_blob("team/app", DATA)
    with Proxy(registry.host) as proxy:
        yield proxy


@pytest.fixture
def daemon(directory: Path, containerd: Containerd, proxy: Proxy) -> Iterator[Daemon]:
    """A daemon that pulls through."""
    upstreams = {UPSTREAM: {"url": proxy.url, "pull": {"patience": 5.0}}}
    with Daemon(directory / "daemon", containerd.address, upstreams) as daemon:
        yield daemon
    assert not daemon.complaints()


def _left(containerd: Containerd) -> set[str]:
    return {ref for ref in containerd.ingests() if ref.startswith("registry-mirror/pull/")}


@pytest.mark.parametrize("victim", ["daemon", "containerd"])
def test_killed_in_the_middle(daemon: Daemon, containerd: Containerd, proxy: Proxy, victim: str) -> None:
    """Nobody gets all of it; what came so far is removed; whoever asks again gets it."""
    released = Event()
    proxy.arm(HoldAnswer(8 * MIB, released), "GET", "/blobs/")
    reader = Wire(daemon.url).stream(PATH, {})
    assert reader.read(MIB) == DATA[:MIB]
    dying = daemon if victim == "daemon" else containerd
    dying.kill()
    released.set()
    with pytest.raises((IncompleteRead, ConnectionResetError)):
        reader.read()
    dying.start()
    until(lambda: Wire(daemon.url).ask("GET", "/v2/").status == 200, "it answers")
    until(lambda: Wire(daemon.url).ask("GET", PATH).body == DATA, "it comes")
    until(lambda: not _left(containerd), "nothing is left of the first time")


@pytest.mark.slow
def test_an_upstream_that_is_frozen(daemon: Daemon, registry: Registry, proxy: Proxy) -> None:
    """It takes connections and answers nothing: each question ends in time, and after some of them at once."""
    registry.pause()
    try:
        for _ in range(4):
            assert Wire(daemon.url, patience=30.0).ask("GET", PATH).status == 502
            assert Wire(daemon.url, patience=30.0).ask("HEAD", "/v2/team/app/manifests/v1").status == 404
    finally:
        registry.resume()
    until(lambda: Wire(daemon.url).ask("GET", PATH).body == DATA, "it comes")
    assert proxy.seen("GET", "/blobs/")


def test_told_to_stop(daemon: Daemon, containerd: Containerd, proxy: Proxy) -> None:
    """It is broken off: whoever reads along is not left waiting, and nothing is left."""
    released = Event()
    proxy.arm(HoldAnswer(8 * MIB, released), "GET", "/blobs/")
    reader = Wire(daemon.url).stream(PATH, {})
    assert reader.read(MIB) == DATA[:MIB]
    os.kill(daemon.pid, signal.SIGTERM)
    with pytest.raises((IncompleteRead, ConnectionResetError)):
        reader.read()
    assert daemon.join() == 0
    released.set()
    assert not _left(containerd)
