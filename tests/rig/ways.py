"""Three machines with addresses of their own: a builder, a host with the daemon, and the central registry.

Names and authorities are those of the builder's own `/etc`, as its operator would have written them.
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from tests.rig.authority import Authority
from tests.rig.client import SYSTEM, Client, Image
from tests.rig.clients import skopeo_push
from tests.rig.containerd import Containerd
from tests.rig.containers import Buildah, Skopeo
from tests.rig.ctr import ClientContainerd, Ctr
from tests.rig.daemon import Daemon
from tests.rig.docker import Docker, Dockerd
from tests.rig.front import Front, Passed
from tests.rig.images import Layout
from tests.rig.lan import Lan
from tests.rig.programs import Programs
from tests.rig.registry import Registry, Stored
from tests.rig.web import Login

Way = Literal["own name", "in its place", "behind a front"]

REGISTRY = "registry.example.com"
MIRROR = "mirror.example.com"
BUILDER, HOST, CENTRAL = "builder", "host", "central"
ADDRESSES = {BUILDER: "192.0.2.1", HOST: "192.0.2.2", CENTRAL: "192.0.2.3"}  # RFC 5737 keeps them for examples
LOGIN = Login("builder", "open sesame")
"""What the central registry asks for; the daemon asks for nothing."""
_PLAIN, _TLS, _BEHIND, _FOR_MIRRORS = 5000, 443, 5000, 5443
_NETWORKS = {f"{ADDRESSES[name]}/32": "acme" for name in (BUILDER, CENTRAL)}
_RULES = {"own": {"tenants": ["acme"], "repositories": ["**"]}}
_OWN_NAME = f"{MIRROR}:{_PLAIN}"


def _etc(directory: Path, authority: Authority, hosts: str) -> Path:
    """What a machine has in its `/etc`: whom it believes, and where names lead."""
    bundle = directory / "ssl/certs/ca-certificates.crt"
    bundle.parent.mkdir(parents=True)
    bundle.write_bytes(authority.ca.read_bytes())
    (directory / "hosts").write_text(f"127.0.0.1 localhost\n{hosts}")
    return directory


class Central:
    """The central registry behind its front: the configuration that the docs ship, with nothing in it changed."""

    def __init__(self, scratch: Path, directory: Path, lan: Lan, authority: Authority) -> None:
        self._lan = lan
        address = ADDRESSES[CENTRAL]
        etc = _etc(directory / "etc", authority, "")
        certificate = authority.server("front", (REGISTRY, address))
        self.registry = Registry(directory / "registry", _BEHIND, LOGIN)
        programs = Programs(scratch, directory / "front", etc=etc)
        self.front = Front(programs, etc, [(address, _TLS), (address, _FOR_MIRRORS)])
        shutil.copy(certificate["certificate"], etc / "nginx/registry.pem")
        shutil.copy(certificate["key"], etc / "nginx/registry.key")

    def manifest(self, repository: str, tag: str) -> Stored | None:
        """What a tag stands for in the registry itself."""
        with self._lan.on(CENTRAL):
            return self.registry.manifest(repository, tag)

    def push(self, layout: Layout, repository: str) -> None:
        """Push an image as `v1` to the registry itself, as nobody's builder."""
        with self._lan.on(CENTRAL):
            login = f"--dest-creds={LOGIN.username}:{LOGIN.password}"
            skopeo_push(layout, f"{self.registry.host}/{repository}:v1", login)

    @contextmanager
    def proxying_manifests(self) -> Iterator[None]:
        """Have the front take manifests to the mirror, for clients that cannot follow a redirect with a body."""
        with self._lan.on(CENTRAL):
            self.front.restart(lambda site: re.sub(r"(PUT /v2/\S+ +)redirect;", r"\1mirror;", site))
        try:
            yield
        finally:
            with self._lan.on(CENTRAL):
                self.front.restart(str)

    def passed(self, repository: str) -> list[Passed]:
        """The requests of the builder about a repository that the front has answered."""
        path = f"/v2/{repository}/"
        mine = (request for request in self.front.passed() if request.caller == ADDRESSES[BUILDER])
        return [request for request in mine if request.path.startswith(path)]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have it run."""
        with ExitStack() as running:
            with self._lan.on(CENTRAL):
                running.enter_context(self.registry)
                running.enter_context(self.front)
            yield


class Host:
    """The machine where images are to run: its containerd, and the daemon.

    It knows builder and front by their addresses, and takes no password from either. It stands in for
    the registry at the ports where builders expect that, and reaches the real one by its address.
    """

    def __init__(self, directory: Path, lan: Lan, authority: Authority) -> None:
        self._lan = lan
        self.containerd = Containerd(directory / "c")
        address, certificate = ADDRESSES[HOST], authority.server("mirror", (REGISTRY, MIRROR))
        (directory / "password").write_text(LOGIN.password)
        upstream: dict[str, object] = {
            "url": f"https://{ADDRESSES[CENTRAL]}:{_FOR_MIRRORS}",
            "ca_file": str(authority.ca),
            "username": LOGIN.username,
            "password_file": str(directory / "password"),
        }
        listeners: dict[str, object] = {
            "plain": {"listen": f"{address}:{_PLAIN}"},
            "tls": {"listen": f"{address}:{_TLS}", "tls": certificate, "identify": ["network"]},
        }
        settings: dict[str, Mapping[str, object]] = {
            "listeners": listeners,
            "identity": {"networks": _NETWORKS},
            "rules": _RULES,
        }
        self.daemon = Daemon(directory / "daemon", self.containerd.address, {REGISTRY: upstream}, settings=settings)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have it run."""
        with ExitStack() as running:
            with self._lan.on(HOST):
                running.enter_context(self.containerd)
                running.enter_context(self.daemon)
            yield


class Builder:
    """The machine that images are pushed from, on one way: its names lead there, and its clients are told nothing.

    Only where the daemon speaks plain HTTP they have to be.
    """

    def __init__(self, scratch: Path, directory: Path, lan: Lan, authority: Authority, way: Way) -> None:
        self._directory, self._lan, self._way = directory, lan, way
        leads_to = HOST if way == "in its place" else CENTRAL
        hosts = f"{ADDRESSES[leads_to]} {REGISTRY}\n{ADDRESSES[HOST]} {MIRROR}\n"
        etc = _etc(directory / "etc", authority, hosts)
        self._programs = Programs(scratch, directory / "state", etc=etc)
        self._dockerd = Dockerd(self._programs.with_state(directory / "dockerd"), [_OWN_NAME])
        self._containerd = ClientContainerd(self._programs.with_state(directory / "c"))

    @property
    def registry(self) -> str:
        """What the clients call the place that they push to."""
        return _OWN_NAME if self._way == "own name" else REGISTRY

    def client(self, program: str, directory: Path) -> Client:
        """One of its clients, with a state of its own; it is logged in where it meets the registry itself."""
        client = self._client(program, directory)
        if self._way == "behind a front":
            with self._lan.on(BUILDER):
                client.log_in(REGISTRY, LOGIN)
        return client

    def _client(self, program: str, directory: Path) -> Client:
        plain = self._way == "own name"
        ca, own = None if plain else SYSTEM, self._programs.with_state(directory)
        if program == "docker":
            return Docker(self._dockerd, own, "classic")
        if program == "ctr":
            return Ctr(self._containerd, own, self.registry, f"http://{_OWN_NAME}" if plain else "")
        return {"skopeo": Skopeo, "buildah": Buildah}[program](own, ca)

    def push(self, client: Client, image: Image, repository: str) -> str:
        """Push an image as `v1`; return its digest."""
        with self._lan.on(BUILDER):
            return client.push(image, f"{self.registry}/{repository}:v1")

    def pull(self, client: Client, repository: str) -> str:
        """Pull `v1`; return its digest."""
        with self._lan.on(BUILDER):
            return client.pull(f"{self.registry}/{repository}:v1")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have its daemons run."""
        with ExitStack() as running:
            with self._lan.on(BUILDER):
                running.enter_context(self._containerd)
                running.enter_context(self._dockerd)
            yield
