"""The host's own containerd, with a `hosts.toml` that names the daemon first and then the registry."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.rig import toml
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import Layout, build_image, busybox
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import Wire

REPOSITORY = "team/app"


@pytest.fixture(params=["pulls through", "does not"])
def daemon(
    request: pytest.FixtureRequest, directory: Path, containerd: Containerd, registry: Registry
) -> Iterator[Daemon]:
    """The daemon, with and without a way to what is not here."""
    pull = {"pull": {"tags": 0.0, "patience": 2.0}} if request.param == "pulls through" else {}
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: {"url": registry.url, **pull}}) as daemon:
        yield daemon
    assert not daemon.complaints()


@pytest.fixture
def layout(directory: Path) -> Layout:
    """An image that can run."""
    return build_image(directory / "layout", [busybox(directory.name)])


@pytest.fixture
def hosts(directory: Path, daemon: Daemon, registry: Registry) -> Path:
    """Where containerd looks for the registry."""
    settings = {"host": {daemon.url: {"capabilities": ["pull", "resolve"]}}}
    (directory / "hosts" / UPSTREAM).mkdir(parents=True)
    (directory / "hosts" / UPSTREAM / "hosts.toml").write_text(f'server = "{registry.url}"\n{toml.dump(settings)}\n')
    return directory / "hosts"


def _pulled(containerd: Containerd, hosts: Path, reference: str) -> str:
    name = f"{UPSTREAM}/{REPOSITORY}{reference}"
    containerd.ctr("images", "pull", "--hosts-dir", str(hosts), name)
    return containerd.run_container(name).strip()


def _blobs_sent(daemon: Daemon) -> int:
    requests = [line for line in daemon.log_lines() if line["event"] == "http.request"]
    return sum(line["method"] == "GET" and "/blobs/" in line["path"] and line["status"] == 200 for line in requests)


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_freshly_pushed(
    containerd: Containerd, daemon: Daemon, registry: Registry, hosts: Path, layout: Layout, directory: Path, by: str
) -> None:
    """No byte is moved, and no upstream is needed."""
    registry.kill()
    Wire(daemon.url).push(REPOSITORY, "v1", layout)
    assert _pulled(containerd, hosts, ":v1" if by == "tag" else f"@{layout.digest}") == directory.name
    assert not _blobs_sent(daemon)


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_cold(
    containerd: Containerd, daemon: Daemon, registry: Registry, hosts: Path, layout: Layout, directory: Path, by: str
) -> None:
    """What only the registry has comes by the daemon where that pulls through, else containerd gets it by itself."""
    Wire(registry.url).push(REPOSITORY, "v1", layout)
    assert _pulled(containerd, hosts, ":v1" if by == "tag" else f"@{layout.digest}") == directory.name
    if _blobs_sent(daemon):
        until(lambda: f"{UPSTREAM}/{REPOSITORY}@{layout.digest}" in containerd.images(), "it is an image of ours, too")
    assert daemon.cli("check").returncode == 0


def test_without_the_daemon(
    containerd: Containerd, daemon: Daemon, registry: Registry, hosts: Path, layout: Layout, directory: Path
) -> None:
    """Containerd goes to the registry by itself."""
    Wire(registry.url).push(REPOSITORY, "v1", layout)
    daemon.kill()
    assert _pulled(containerd, hosts, ":v1") == directory.name
    daemon.start()
