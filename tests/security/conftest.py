"""Two tenants on one daemon, one containerd and one upstream, each with an image and an upload under way."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import build_image, busybox
from tests.rig.registry import Registry
from tests.rig.wire import Wire
from tests.security.people import ACME, GLOBEX, PEOPLE, RULES, Person, identity

OTHER = "other.example.com:5443"


@pytest.fixture(scope="module")
def upstream(scratch: Path) -> Iterator[Registry]:
    """The upstream of both."""
    with Registry(Path(tempfile.mkdtemp(dir=scratch))) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def daemon(scratch: Path, containerd: Containerd, upstream: Registry) -> Iterator[Daemon]:
    """A daemon that knows them."""
    directory = Path(tempfile.mkdtemp(dir=scratch))
    settings = {"identity": identity(directory / "identity"), "rules": RULES, "http": {"catalog": True}}
    upstreams = {UPSTREAM: upstream.url, OTHER: upstream.url}
    with Daemon(directory / "daemon", containerd.address, upstreams, settings=settings) as daemon:
        yield daemon
    assert not daemon.complaints()


def wire_of(daemon: Daemon, person: Person) -> Wire:
    """Requests as somebody."""
    return Wire(daemon.url, source=person.source, authorization=person.authorization)


@dataclass(frozen=True)
class Owned:
    """What a tenant has: an image `<tenant>/app:v1` with some blobs, and an upload under way."""

    repository: str
    manifest: str
    blob: str
    upload: str


@pytest.fixture(scope="module")
def owned(scratch: Path, daemon: Daemon) -> Mapping[str, Owned]:
    """What both of them have."""
    return {tenant: _owned(scratch, daemon, tenant, who) for tenant, who in ((ACME, "alice"), (GLOBEX, "bob"))}


def _owned(scratch: Path, daemon: Daemon, tenant: str, who: str) -> Owned:
    wire = wire_of(daemon, PEOPLE[who])
    layout = build_image(Path(tempfile.mkdtemp(dir=scratch)), [busybox(tenant)])
    repository = f"{tenant}/app"
    digest = wire.push(repository, "v1", layout)
    upload = wire.begin(repository)
    assert wire.ask("PATCH", upload, b"some bytes").status == 202
    return Owned(repository, digest, layout.children[-1].digest, upload.rpartition("/")[2])
