"""Every client on a daemon that pulls through: what only the upstream has, and what that has already, pushed here."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.test_matrix import every_client
from tests.conftest import UPSTREAM
from tests.rig.client import Client, image_layout
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.oras import OrasCommand, OrasLibrary
from tests.rig.registry import Registry
from tests.rig.wire import Wire


@pytest.fixture(scope="module")
def upstream(scratch: Path) -> Iterator[Registry]:
    """The upstream."""
    with Registry(Path(tempfile.mkdtemp(dir=scratch))) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def daemon(scratch: Path, containerd: Containerd, upstream: Registry) -> Iterator[Daemon]:
    """A daemon that pulls through, and asks each time what a tag means."""
    upstreams = {UPSTREAM: {"url": upstream.url, "pull": {"tags": 0.0}}}
    with Daemon(Path(tempfile.mkdtemp(dir=scratch)) / "daemon", containerd.address, upstreams) as daemon:
        yield daemon
    assert not daemon.complaints()


@every_client
def test_what_only_the_upstream_has(
    client: Client, repository: str, daemon: Daemon, upstream: Registry, directory: Path
) -> None:
    """It is pulled like anything else."""
    layout = image_layout(directory / "layout", repository[-8:])
    Wire(upstream.url).push(repository, "v1", layout)
    assert client.pull(f"{daemon.host}/{repository}:v1") == layout.digest


@every_client
def test_what_the_upstream_has_already(client: Client, repository: str, daemon: Daemon, containerd: Containerd) -> None:
    """Pushed from this host or another before: it gets here all the same, although it is there."""
    if isinstance(client, OrasLibrary | OrasCommand):
        pytest.skip("oras asks for the manifest first, and pushes nothing if that is anywhere")
    image, reference = client.make(repository[-8:]), f"{daemon.host}/{repository}:v1"
    name = f"{UPSTREAM}/{repository}:v1"
    pushed = client.push(image, reference)
    daemon.wait(name, "replicated")
    daemon.wait(name, "unpacked")
    assert daemon.cli("evict", "--all").returncode == 0
    assert name not in containerd.images()
    assert client.push(image, reference) == pushed
    assert containerd.images()[name] == pushed
    assert pushed in containerd.contents()
