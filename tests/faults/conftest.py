"""The parts that a fault is done to: each of them one test's own, or a whole host that the tests of a file share."""

import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.faults.host import OURS, Host
from tests.faults.way import CONFIG, PASSWORD, REPOSITORY, Way
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.halting import HaltingContainerd
from tests.rig.proxy import Proxy
from tests.rig.registry import Registry
from tests.rig.wire import Wire

# What a push brings is upstream only once its manifest is: before that it would be found there when it is lost here.
_LATE = {"replication": {"eager": False}}


@pytest.fixture
def containerd(scratch: Path) -> Iterator[Containerd]:
    """A containerd that may be killed, paused and emptied without hurting another test."""
    with Containerd(Path(tempfile.mkdtemp(dir=scratch))) as containerd:
        yield containerd


@pytest.fixture(scope="module")
def whole_host(scratch: Path) -> Iterator[Host]:
    """A daemon, its containerd and its upstream, for all tests of a file."""
    directory = Path(tempfile.mkdtemp(dir=scratch))
    with (
        HaltingContainerd(directory / "c") as containerd,
        Registry(directory / "upstream") as registry,
        Proxy(registry.host) as proxy,
        Daemon(directory / "daemon", containerd.address, {UPSTREAM: proxy.url}, settings=_LATE) as daemon,
    ):
        yield Host(daemon, containerd, registry, proxy, "", frozenset())
        assert not daemon.complaints()


@pytest.fixture
def host(whole_host: Host) -> Iterator[Host]:
    """The same for one test, which has a repository of its own."""
    leases = whole_host.containerd.leases()
    before = frozenset(lease for lease in leases if lease.startswith(OURS))
    yield replace(whole_host, repository=f"team/{secrets.token_hex(8)}", before=before)
    whole_host.proxy.disarm()
    whole_host.registry.resume()


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
def chosen(settings: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """No head start, unless a test sets one: the requests of a job alone can be counted."""
    return settings | {"replication": {"eager": False, **settings.get("replication", {})}}


@pytest.fixture
def way(
    directory: Path,
    containerd: Containerd,
    registry: Registry,
    proxy: Proxy,
    chosen: dict[str, dict[str, object]],
) -> Iterator[Way]:
    """The whole way, with credentials that must not be seen where they do not belong.

    The config is upstream from the start, so that the layer is the only blob that is ever sent.
    """
    Wire(registry.url).push_blob(REPOSITORY, CONFIG)
    password = directory / "password"
    password.write_text(PASSWORD)
    upstream = {"url": proxy.url, "username": "builder", "password_file": str(password)}
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: upstream}, settings=chosen) as daemon:
        yield Way(daemon, containerd, registry, proxy)
    assert not daemon.complaints()
    assert PASSWORD not in daemon.log.read_text()
