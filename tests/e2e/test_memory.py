"""The daemon's memory does not grow with the layers that pass through it."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from http.client import HTTPResponse
from pathlib import Path

import pytest

from bench.memory import measure
from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.registry import Registry
from tests.rig.wire import Wire, digest_of

MIB = 1 << 20
READERS = 8


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_layer_of_2_gib(directory: Path) -> None:
    """Pushed, unpacked and replicated, a 2 GiB layer takes less than 150 MiB of memory at the peak."""
    [push] = measure(2048 * MIB, 1, directory)["registry-mirror"]
    assert push.peak_at_the_end < 150 * MIB


@pytest.mark.slow
def test_a_layer_that_is_pulled_through(directory: Path, containerd: Containerd, registry: Registry) -> None:
    """However fast or slowly those read who want it, of 512 MiB no more than 120 MiB are in memory at the peak."""
    data = secrets.token_bytes(512 * MIB)
    digest = Wire(registry.url).push_blob("team/app", data)
    upstreams = {UPSTREAM: {"url": registry.url, "pull": {"tags": 60.0}}}
    with Daemon(directory / "daemon", containerd.address, upstreams) as daemon, ThreadPoolExecutor(READERS) as pool:
        path = f"/v2/team/app/blobs/{digest}"
        slow = Wire(daemon.url).stream(path, {})
        fast = [Wire(daemon.url).stream(path, {}) for _ in range(READERS)]
        assert set(pool.map(_digest, fast)) == {digest}
        assert digest_of(slow.read()) == digest
        assert daemon.peak_memory() < 120 * MIB
        assert not daemon.complaints()


def _digest(answer: HTTPResponse) -> str:
    hashed = sha256()
    while data := answer.read(MIB):
        hashed.update(data)
    return f"sha256:{hashed.hexdigest()}"
