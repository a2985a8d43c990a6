"""One daemon for all clients, and each client in a room of its own.

`CLIENTS_ROOT` in the environment names the root directory of another Debian to take the clients from.
"""

import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.rig.client import Client
from tests.rig.containerd import Containerd
from tests.rig.containers import Buildah, Podman, Skopeo
from tests.rig.crane import Crane
from tests.rig.ctr import ClientContainerd, Ctr
from tests.rig.daemon import Daemon
from tests.rig.docker import Docker, Dockerd
from tests.rig.oras import OrasCommand, OrasLibrary
from tests.rig.programs import Programs, missing_privilege
from tests.rig.registry import Registry


@pytest.fixture(scope="session")
def programs(scratch: Path) -> Programs:
    """The programs that are to be tested."""
    if missing := missing_privilege():
        pytest.skip(missing)
    return Programs(scratch, scratch / "programs", Path(os.environ.get("CLIENTS_ROOT", "/")))


@pytest.fixture(scope="module")
def daemon(scratch: Path, containerd: Containerd) -> Iterator[Daemon]:
    """The daemon, with an upstream for what is acknowledged."""
    directory = Path(tempfile.mkdtemp(dir=scratch))
    with (
        Registry(directory / "upstream") as upstream,
        Daemon(directory / "daemon", containerd.address, {UPSTREAM: upstream.url}) as daemon,
    ):
        yield daemon
    assert not daemon.complaints()


@pytest.fixture(scope="module")
def dockerd(scratch: Path, programs: Programs) -> Iterator[Dockerd]:
    """A private dockerd."""
    if not (Path("/sys/fs/cgroup/devices").exists() or Path("/sys/fs/cgroup/cgroup.controllers").exists()):
        pytest.skip("dockerd needs cgroups")
    with Dockerd(programs.with_state(Path(tempfile.mkdtemp(dir=scratch)))) as dockerd:
        yield dockerd


@pytest.fixture(scope="module")
def builder_containerd(scratch: Path, programs: Programs) -> Iterator[ClientContainerd]:
    """The containerd that `ctr` pushes from."""
    with ClientContainerd(programs.with_state(Path(tempfile.mkdtemp(dir=scratch)))) as containerd:
        yield containerd


@pytest.fixture
def repository() -> str:
    """A repository that no other test has."""
    return f"team/{uuid.uuid4().hex}"


@pytest.fixture
def client(request: pytest.FixtureRequest, daemon: Daemon, programs: Programs, directory: Path) -> Client:
    """The client that a test's parameter names, with nothing in its store."""

    def docker(own: Programs) -> Docker:
        dockerd: Dockerd = request.getfixturevalue("dockerd")
        return Docker(dockerd, own, "buildkit" if request.param == "docker-buildkit" else "classic")

    def ctr(own: Programs) -> Ctr:
        return Ctr(request.getfixturevalue("builder_containerd"), own, UPSTREAM, daemon.url)

    makers: dict[str, Callable[[Programs], Client]] = {
        "skopeo": Skopeo,
        "buildah": Buildah,
        "podman": Podman,
        "docker-classic": docker,
        "docker-buildkit": docker,
        "ctr": ctr,
        "oras": lambda own: OrasLibrary(own, daemon.host),
        "oras-command": OrasCommand,
        "crane": Crane,
    }
    client = makers[request.param](programs.with_state(directory))
    if not client.is_installed:
        pytest.skip(f"no {client.program} here; `make clients` has it")
    return client
