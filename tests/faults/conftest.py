"""The parts that a fault is done to, each of them one test's own."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.faults.way import CONFIG, PASSWORD, REPOSITORY, Way
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.proxy import Proxy
from tests.rig.registry import Registry
from tests.rig.wire import Wire


@pytest.fixture
def containerd(scratch: Path) -> Iterator[Containerd]:
    """A containerd that may be killed, paused and emptied without hurting another test."""
    with Containerd(Path(tempfile.mkdtemp(dir=scratch))) as containerd:
        yield containerd


@pytest.fixture
def proxy(registry: Registry) -> Iterator[Proxy]:
    """The upstream, as the daemon of `way` sees it."""
    with Proxy(registry.host) as proxy:
        yield proxy


@pytest.fixture
def settings() -> dict[str, dict[str, object]]:
    """What a test sets for the daemon of `way`, by a parameter of this name."""
    return {}


@pytest.fixture
def way(
    directory: Path,
    containerd: Containerd,
    registry: Registry,
    proxy: Proxy,
    settings: dict[str, dict[str, object]],
) -> Iterator[Way]:
    """The whole way, with credentials that must not be seen where they do not belong.

    The config is upstream from the start, so that the layer is the only blob that is ever sent.
    """
    Wire(registry.url).push_blob(REPOSITORY, CONFIG)
    password = directory / "password"
    password.write_text(PASSWORD)
    upstream = {"url": proxy.url, "username": "builder", "password_file": str(password)}
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: upstream}, settings=settings) as daemon:
        yield Way(daemon, containerd, registry, proxy)
    assert not daemon.complaints()
    assert PASSWORD not in daemon.log.read_text()
