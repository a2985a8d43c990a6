"""Real clients log in over TLS, push and pull; with a wrong password they say so."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.rig.authority import NAME, Authority
from tests.rig.client import Client, Image
from tests.rig.containerd import Containerd
from tests.rig.containers import Buildah, Podman, Skopeo
from tests.rig.ctr import ClientContainerd, Ctr
from tests.rig.daemon import Daemon
from tests.rig.docker import Docker, Dockerd, trust
from tests.rig.ports import free_port
from tests.rig.programs import Programs, missing_privilege
from tests.rig.tokens import ISSUER, SERVICE, TokenServer
from tests.rig.web import Login
from tests.security.people import ALICE, BOB, CI, RULES, identity

pytestmark = pytest.mark.slow

WRONG = Login("alice", "no sesame")
CLIENTS = ["skopeo", "buildah", "podman", "docker", "ctr"]


@dataclass(frozen=True)
class Place:
    """A daemon that asks for a login, or for a token in its place, by its name and over TLS."""

    daemon: Daemon
    host: str
    authority: Authority


@pytest.fixture(scope="module", params=["basic", "token"])
def place(request: pytest.FixtureRequest, scratch: Path, containerd: Containerd) -> Iterator[Place]:
    """It listens on the loopback of IPv6: dockerd checks no certificate on that of IPv4."""
    directory = Path(tempfile.mkdtemp(dir=scratch))
    authority, port = Authority(directory / "authority"), free_port()
    issue = {"issue": 300} if request.param == "token" else {}
    settings = {
        "identity": identity(directory / "identity", **issue),
        "rules": RULES,
        "listeners": {"tls": {"listen": f"[::1]:{port}", "tls": authority.server()}},
    }
    upstreams = {UPSTREAM: "http://127.0.0.1:1"}
    with Daemon(directory / "daemon", containerd.address, upstreams, settings=settings) as daemon:
        yield Place(daemon, f"{NAME}:{port}", authority)
    assert not daemon.complaints()


@pytest.fixture(scope="module")
def etc(scratch: Path) -> Path:
    """What of `/etc` the clients see differently: where the name leads."""
    if missing := missing_privilege():
        pytest.skip(missing)
    etc = Path(tempfile.mkdtemp(dir=scratch))
    (etc / "hosts").write_text(f"127.0.0.1 localhost\n::1 {NAME}\n")
    return etc


@pytest.fixture(scope="module")
def programs(scratch: Path, etc: Path) -> Programs:
    """This machine's clients."""
    return Programs(scratch, Path(tempfile.mkdtemp(dir=scratch)), etc=etc)


@pytest.fixture(scope="module")
def dockers_etc(scratch: Path, etc: Path) -> Path:
    """The same for dockerd, which has the authorities that it trusts there."""
    own = Path(tempfile.mkdtemp(dir=scratch))
    (own / "hosts").write_bytes((etc / "hosts").read_bytes())
    return own


@pytest.fixture(scope="module")
def dockerd(scratch: Path, dockers_etc: Path, place: Place) -> Iterator[Dockerd]:
    """A private dockerd that trusts the authority."""
    if not (Path("/sys/fs/cgroup/devices").exists() or Path("/sys/fs/cgroup/cgroup.controllers").exists()):
        pytest.skip("dockerd needs cgroups")
    trust(dockers_etc, place.host, place.authority.ca)
    with Dockerd(Programs(scratch, Path(tempfile.mkdtemp(dir=scratch)), etc=dockers_etc)) as dockerd:
        yield dockerd


@pytest.fixture(scope="module")
def builder(scratch: Path, programs: Programs) -> Iterator[ClientContainerd]:
    """The containerd that `ctr` pushes from."""
    with ClientContainerd(programs.with_state(Path(tempfile.mkdtemp(dir=scratch)))) as containerd:
        yield containerd


@pytest.fixture
def client(request: pytest.FixtureRequest, place: Place, programs: Programs, directory: Path) -> Client:
    """The client that a test's parameter names, nobody yet."""

    def docker(own: Programs) -> Docker:
        return Docker(request.getfixturevalue("dockerd"), own, "classic")

    def ctr(own: Programs) -> Ctr:
        return Ctr(request.getfixturevalue("builder"), own, UPSTREAM, f"https://{place.host}", place.authority.ca)

    makers: dict[str, Callable[[Programs], Client]] = {
        "skopeo": lambda own: Skopeo(own, place.authority.ca),
        "buildah": lambda own: Buildah(own, place.authority.ca),
        "podman": lambda own: Podman(own, place.authority.ca),
        "docker": docker,
        "ctr": ctr,
    }
    client = makers[request.param](programs.with_state(directory))
    if not client.is_installed:
        pytest.skip(f"no {client.program} here")
    return client


@pytest.mark.parametrize("client", CLIENTS, indirect=True)
def test_there_and_back(client: Client, place: Place, containerd: Containerd, directory: Path) -> None:
    """Whoever has logged in pushes an image and pulls it again, and gets nothing into what is somebody else's."""
    reference = f"{place.host}/acme/{directory.name}:v1"
    client.log_in(place.host, ALICE)
    image = client.make(directory.name)
    pushed = client.push(image, reference)
    assert containerd.images()[f"{UPSTREAM}/acme/{directory.name}:v1"] == pushed
    assert client.pull(reference) == pushed
    _is_told(place, ALICE)

    client.log_in(place.host, BOB)
    with pytest.raises(RuntimeError, match=r"denied|403 \(?Forbidden"):
        client.push(client.make(f"{directory.name}-bob"), f"{place.host}/acme/{directory.name}:v2")


def _is_told(place: Place, login: Login) -> None:
    """The daemon has used a password, and tells nobody: not in its log, nor on its command line."""
    written = [place.daemon.log, place.daemon.config, Path(f"/proc/{place.daemon.pid}/cmdline")]
    told = b"".join(file.read_bytes() for file in written)
    for secret in (login.password, login.header.removeprefix("Basic ")):
        assert secret.encode() not in told


@pytest.mark.parametrize("client", CLIENTS, indirect=True)
def test_a_wrong_password(client: Client, place: Place, directory: Path) -> None:
    """The client says that it is: at once, or when it pushes."""
    image = client.make(directory.name)
    with pytest.raises(RuntimeError, match=r"(?i)unauthorized|invalid username/password"):
        _log_in_and_push(client, place, directory, image)
    _is_told(place, WRONG)


def _log_in_and_push(client: Client, place: Place, directory: Path, image: Image) -> None:
    client.log_in(place.host, WRONG)
    client.push(image, f"{place.host}/acme/{directory.name}:v1")


@pytest.mark.parametrize("client", ["skopeo", "buildah"], indirect=True)
def test_another_authority(client: Client, place: Place, directory: Path) -> None:
    """A client that trusts another one sends no password."""
    client.ca = Authority(directory / "others").ca
    with pytest.raises(RuntimeError, match="certificate signed by unknown authority"):
        client.log_in(place.host, ALICE)


def test_another_authority_with_docker(dockerd: Dockerd, dockers_etc: Path, place: Place, directory: Path) -> None:
    """The same: what is in its `certs.d` counts."""
    docker = Docker(dockerd, dockerd.programs.with_state(directory), "classic")
    trust(dockers_etc, place.host, Authority(directory / "others").ca)
    try:
        with pytest.raises(RuntimeError, match="certificate signed by unknown authority"):
            docker.log_in(place.host, ALICE)
    finally:
        trust(dockers_etc, place.host, place.authority.ca)
    docker.log_in(place.host, ALICE)


def test_a_token_as_a_password(programs: Programs, place: Place, containerd: Containerd, directory: Path) -> None:
    """A client that can only log in does so as `token`; here over plain HTTP."""
    client = Skopeo(programs.with_state(directory))
    client.log_in(place.daemon.host, Login("token", CI.token))
    pushed = client.push(client.make(directory.name), f"{place.daemon.host}/acme/{directory.name}:v1")
    assert containerd.images()[f"{UPSTREAM}/acme/{directory.name}:v1"] == pushed


def test_a_token_server_elsewhere(programs: Programs, containerd: Containerd, directory: Path) -> None:
    """Where tokens are somebody else's to give, a client gets them there for its login, and none for a wrong one."""
    with TokenServer(directory / "tokens", ALICE) as server:
        jwt = {"keys": str(server.public), "audience": SERVICE, "issuer": ISSUER, "realm": server.realm}
        rules = {"rig": {"principals": ["jwt:rig"], "repositories": ["acme/**"]}}
        settings: dict[str, Mapping[str, object]] = {"identity": {"jwt": jwt}, "rules": rules}
        upstreams = {UPSTREAM: "http://127.0.0.1:1"}
        with Daemon(directory / "daemon", containerd.address, upstreams, settings=settings) as daemon:
            client = Skopeo(programs.with_state(directory / "client"))
            with pytest.raises(RuntimeError, match="invalid username/password"):
                client.log_in(daemon.host, WRONG)
            client.log_in(daemon.host, ALICE)
            reference = f"{daemon.host}/acme/{directory.name}:v1"
            assert client.push(client.make(directory.name), reference) == client.pull(reference)
            assert not daemon.complaints()
