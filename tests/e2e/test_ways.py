"""Clients that nobody can patch push to the host, in three ways; builder, host and registry are three machines."""

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest

from tests.rig.authority import Authority
from tests.rig.client import Client
from tests.rig.daemon import Daemon
from tests.rig.front import Passed
from tests.rig.images import build_image, busybox
from tests.rig.lan import Lan
from tests.rig.programs import missing_privilege
from tests.rig.until import until
from tests.rig.ways import ADDRESSES, CENTRAL, HOST, REGISTRY, Builder, Central, Host, Way

# Three machines are set up, for any of them.
pytestmark = pytest.mark.slow

WAYS: tuple[Way, ...] = get_args(Way)
CLIENTS = ["docker", "skopeo", "buildah", "ctr"]
LAYERS = 2
"""Of each image of the clients."""
SMALL = 16384
"""More than any manifest, config or answer of these images has in bytes, and less than their first layer."""


@dataclass(frozen=True)
class Site:
    """All that every way has in common."""

    lan: Lan
    authority: Authority
    host: Host
    central: Central


@pytest.fixture(scope="module")
def site(scratch: Path) -> Iterator[Site]:
    """Three machines: two of them run, the third is `builder`."""
    if missing := missing_privilege():
        pytest.skip(missing)
    directory = Path(tempfile.mkdtemp(dir=scratch))
    authority = Authority(directory / "authority")
    with Lan(ADDRESSES) as lan:
        central = Central(scratch, directory / "central", lan, authority)
        host = Host(directory / "h", lan, authority)
        with central.running(), host.running():
            yield Site(lan, authority, host, central)
        assert not host.daemon.complaints()


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    """Each of them."""
    chosen: Way = request.param
    return chosen


@pytest.fixture(scope="module")
def builder(scratch: Path, site: Site, way: Way) -> Iterator[Builder]:
    """The third machine, on its way."""
    builder = Builder(scratch, Path(tempfile.mkdtemp(dir=scratch)), site.lan, site.authority, way)
    with builder.running():
        yield builder


@pytest.fixture
def client(request: pytest.FixtureRequest, builder: Builder, directory: Path) -> Client:
    """The client that a test's parameter names."""
    return builder.client(request.param, directory)


@pytest.fixture
def repository() -> str:
    """A repository of the test's own, which is what the images in it are marked with."""
    return f"app-{uuid.uuid4().hex}"


@pytest.mark.parametrize("client", CLIENTS, indirect=True)
def test_it_lands_in_the_host(client: Client, builder: Builder, site: Site, repository: str) -> None:
    """What the builder pushes is in the host's containerd by the registry's name, runs, and gets to the registry."""
    pushed = builder.push(client, client.make(repository), repository)
    _runs(site, repository, pushed)
    site.host.daemon.wait(_named(repository), "replicated")
    _is_central(site, repository, pushed)


@pytest.mark.parametrize("client", ["docker", "ctr"], indirect=True)
def test_the_registry_is_cut_off_during_a_deploy(client: Client, builder: Builder, site: Site, repository: str) -> None:
    """Before anything of the image is there: it starts all the same, and gets there once the cable is mended."""
    with ExitStack() as cut:
        with _nothing_gets_away(site.host.daemon):
            pushed = builder.push(client, client.make(repository), repository)
            cut.enter_context(_cut(site.lan))
        _runs(site, repository, pushed)
        assert site.central.manifest(repository, "v1") is None
    site.host.daemon.wait(_named(repository), "replicated")
    _is_central(site, repository, pushed)


@pytest.mark.parametrize("client", ["skopeo"], indirect=True)
def test_a_push_while_the_registry_is_cut_off(client: Client, builder: Builder, site: Site, repository: str) -> None:
    """The whole deploy goes as ever; behind a front, as long as the builder reaches that."""
    with _cut(site.lan):
        pushed = builder.push(client, client.make(repository), repository)
        _runs(site, repository, pushed)
    site.host.daemon.wait(_named(repository), "replicated")
    _is_central(site, repository, pushed)


@pytest.mark.parametrize("way", ["behind a front"], indirect=True)
@pytest.mark.parametrize("client", CLIENTS, indirect=True)
def test_a_push_does_not_pass_the_front(client: Client, builder: Builder, site: Site, repository: str) -> None:
    """The front redirects each request that changes something or asks for a blob, and has nothing to pass on."""
    builder.push(client, client.make(repository), repository)
    passed = until(lambda: _with_manifest(site.central.passed(repository)), "the front has logged all of it")
    changing = [request for request in passed if not _reads_manifest(request)]
    assert {request.method for request in changing} == {"HEAD", "POST", "PUT"}
    assert {(request.status, request.to) for request in changing} == {(307, "")}
    assert max(request.taken for request in passed) < SMALL


@pytest.mark.parametrize("way", ["behind a front"], indirect=True)
@pytest.mark.parametrize("client", ["ctr"], indirect=True)
def test_manifests_that_pass_the_front(client: Client, builder: Builder, site: Site, repository: str) -> None:
    """With the other word that its configuration has for them, the front takes them to the mirror itself."""
    with site.central.proxying_manifests():
        pushed = builder.push(client, client.make(repository), repository)
        passed = until(lambda: _with_manifest(site.central.passed(repository)), "the front has logged all of it")
    assert {request.status for request in passed if request.method == "PUT"} == {201}
    _runs(site, repository, pushed)


def _reads_manifest(request: Passed) -> bool:
    return request.method in {"GET", "HEAD"} and "/manifests/" in request.path


def _with_manifest(passed: list[Passed]) -> list[Passed]:
    """All requests of a push; none as long as its last is not there."""
    return passed if any(request.method == "PUT" for request in passed) else []


@pytest.mark.parametrize("way", ["behind a front"], indirect=True)
@pytest.mark.parametrize("client", CLIENTS, indirect=True)
def test_a_pull_past_the_front(client: Client, builder: Builder, site: Site, repository: str, directory: Path) -> None:
    """A builder pulls what only the registry has, and what it has pushed but is not there yet.

    That comes from the mirror itself, but for a small layer that may be there by then.
    """
    there, here = f"{repository}-there", f"{repository}-here"
    layout = build_image(directory / "layout", [busybox(there)])
    site.central.push(layout, there)
    assert builder.pull(client, there) == layout.digest
    with _nothing_gets_away(site.host.daemon):
        pushed = builder.push(client, client.make(here), here)
        assert builder.pull(client, here) == pushed
        assert site.central.manifest(here, "v1") is None
    passed = until(lambda: _with_layers(site.central.passed(here)), "the front has logged all of it")
    assert max(request.given for request in passed) < SMALL


def _with_layers(passed: list[Passed]) -> list[Passed]:
    """All requests of a pull; none as long as config and both layers are not there."""
    got = {request.path for request in passed if request.method == "GET" and "/blobs/" in request.path}
    return passed if len(got) > LAYERS else []


@pytest.mark.parametrize("way", ["behind a front"], indirect=True)
@pytest.mark.parametrize("client", ["ctr"], indirect=True)
def test_a_pull_while_the_mirror_is_away(
    client: Client, builder: Builder, site: Site, repository: str, directory: Path
) -> None:
    """What the registry has comes from there."""
    layout = build_image(directory / "layout", [busybox(repository)])
    site.central.push(layout, repository)
    with _cut(site.lan):
        assert builder.pull(client, repository) == layout.digest


@contextmanager
def _cut(lan: Lan) -> Iterator[None]:
    """Have host and registry not reach each other."""
    lan.cut(HOST, CENTRAL)
    try:
        yield
    finally:
        lan.mend(HOST, CENTRAL)


@contextmanager
def _nothing_gets_away(daemon: Daemon) -> Iterator[None]:
    """Have replication wait: it sends a byte per second."""
    daemon.cli("limits", "--rate", "1").check_returncode()
    try:
        yield
    finally:
        daemon.cli("limits", "--rate", "0").check_returncode()


def _named(repository: str) -> str:
    return f"{REGISTRY}/{repository}:v1"


def _runs(site: Site, repository: str, digest: str) -> None:
    """A container starts without a pull; the image's marker is its repository."""
    name = _named(repository)
    assert site.host.containerd.images()[name] == digest
    site.host.daemon.wait(name, "unpacked")
    assert site.host.containerd.run_container(name).strip() == repository


def _is_central(site: Site, repository: str, digest: str) -> None:
    stored = site.central.manifest(repository, "v1")
    assert stored is not None
    assert stored.digest == digest
