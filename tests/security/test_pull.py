"""Tenants on one host who pull through it: each from what is his, and as if the other were not there."""

import json
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.oci.manifest import OCI_INDEX
from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.faults import Reply
from tests.rig.images import File, Layer, Layout, build_image, busybox
from tests.rig.proxy import Proxy
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import Wire, digest_of
from tests.security.conftest import wire_of
from tests.security.people import PEOPLE, RULES, identity

BLOBS = "/blobs/sha256:"


@pytest.fixture
def proxy(upstream: Registry) -> Iterator[Proxy]:
    """The way to the upstream, which notes every request."""
    with Proxy(upstream.host) as proxy:
        yield proxy


def _daemon(scratch: Path, containerd: Containerd, proxy: Proxy, **more: dict[str, object]) -> Daemon:
    directory = Path(tempfile.mkdtemp(dir=scratch))
    settings = {"identity": identity(directory / "identity"), "rules": RULES, **more}
    upstreams = {UPSTREAM: {"url": proxy.url, "pull": {"tags": 0.0, "borrow": True}}}
    return Daemon(directory / "daemon", containerd.address, upstreams, settings=settings)


@pytest.fixture
def daemon(scratch: Path, containerd: Containerd, proxy: Proxy) -> Iterator[Daemon]:
    """A daemon that knows them, and pulls through."""
    with _daemon(scratch, containerd, proxy) as daemon:
        yield daemon
    assert not daemon.complaints()


@pytest.fixture
def alice(daemon: Daemon) -> Wire:
    """Requests of acme."""
    return wire_of(daemon, PEOPLE["alice"])


@pytest.fixture
def bob(daemon: Daemon) -> Wire:
    """Requests of globex."""
    return wire_of(daemon, PEOPLE["bob"])


@pytest.fixture
def there(upstream: Registry) -> Wire:
    """Requests to the upstream itself."""
    return Wire(upstream.url)


@pytest.fixture
def layout(directory: Path) -> Layout:
    """An image that nobody else has."""
    return build_image(directory / "layout", [busybox(directory.name), Layer([File("own", secrets.token_bytes(1000))])])


@pytest.mark.parametrize("who", ["alice", "nobody", "a token that there is not"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_nothing_of_others(
    daemon: Daemon, there: Wire, proxy: Proxy, layout: Layout, directory: Path, who: str, method: str
) -> None:
    """What a caller may not pull the upstream is not even asked for; the answer says nothing of what there is."""
    there.push(f"globex/{directory.name}", "v1", layout)
    wire = wire_of(daemon, PEOPLE[who])
    answers = [
        wire.ask(method, f"/v2/globex/{name}/{what}")
        for name in (directory.name, "unknown")
        for what in ("manifests/v1", f"manifests/{layout.digest}", f"blobs/{layout.children[0].digest}")
    ]
    assert len({answer.status for answer in answers}) == 1
    assert {answer.status for answer in answers} <= {401, 403}
    assert not proxy.requests


def test_a_mount_from_others(alice: Wire, there: Wire, proxy: Proxy, layout: Layout, directory: Path) -> None:
    """Nor is it borrowed for him."""
    there.push(f"globex/{directory.name}", "v1", layout)
    digest = layout.children[0].digest
    for source in (f"&from=globex/{directory.name}", ""):
        assert alice.ask("POST", f"/v2/acme/app/blobs/uploads/?mount={digest}{source}").status == 202
    assert not proxy.seen(path=BLOBS)


def test_what_others_have_here(
    alice: Wire, bob: Wire, there: Wire, proxy: Proxy, layout: Layout, directory: Path
) -> None:
    """It comes from the upstream as if it were not here: else its time would tell."""
    name = directory.name
    for tenant in ("acme", "globex"):
        there.push(f"{tenant}/{name}", "v1", layout)
    for fetched, (wire, tenant) in enumerate([(bob, "globex"), (alice, "acme")], 1):
        for child in layout.children:
            answer = wire.ask("GET", f"/v2/{tenant}/{name}/blobs/{child.digest}")
            assert digest_of(answer.body) == child.digest
            assert len(proxy.seen("GET", child.digest)) == fetched


def test_what_names_what_others_have(
    daemon: Daemon,
    bob: Wire,
    there: Wire,
    proxy: Proxy,
    containerd: Containerd,
    layout: Layout,
    directory: Path,
) -> None:
    """An index upstream that lists an image of others beside one of its own can be pulled, and is no image here."""
    repository = f"acme/{directory.name}"
    bob.push("globex/app", directory.name, layout)
    own = build_image(directory / "own", [busybox("own")])
    there.push(repository, own.digest, own)
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [own.top.json(), layout.top.json()]}
    index = json.dumps(document).encode()
    proxy.arm(Reply(200, {"Content-Type": OCI_INDEX}, index), path=f"/manifests/({digest_of(index)}|v1)", times=None)

    alice = wire_of(daemon, PEOPLE["alice"])
    assert alice.ask("GET", f"/v2/{repository}/manifests/v1").body == index
    assert alice.ask("GET", f"/v2/{repository}/manifests/{layout.digest}").status == 404
    for part in (f"manifests/{own.digest}", *(f"blobs/{child.digest}" for child in own.children)):
        assert alice.ask("GET", f"/v2/{repository}/{part}").status == 200
    name = f"{UPSTREAM}/{repository}@"
    until(lambda: f"{name}{own.digest}" in containerd.images(), "its own image is one of the host")
    until(lambda: digest_of(index) in _not_kept(daemon), "the index is none")
    assert f"{name}{digest_of(index)}" not in containerd.images()


def _not_kept(daemon: Daemon) -> set[str]:
    return {line["manifest"] for line in daemon.log_lines() if line["event"] == "pull.not_kept"}


def test_what_is_not_let_in(
    scratch: Path, containerd: Containerd, proxy: Proxy, there: Wire, layout: Layout, directory: Path
) -> None:
    """Whoever pulls it gets it, but it becomes no image here."""
    there.push(f"acme/{directory.name}", "v1", layout)
    with _daemon(scratch, containerd, proxy, verify={"layers": 1}) as daemon:
        wire = wire_of(daemon, PEOPLE["alice"])
        assert wire.ask("GET", f"/v2/acme/{directory.name}/manifests/v1").body == layout.manifest
        for child in layout.children:
            assert wire.ask("GET", f"/v2/acme/{directory.name}/blobs/{child.digest}").status == 200
        until(lambda: layout.digest in _not_kept(daemon), "it is refused")
        assert f"{UPSTREAM}/acme/{directory.name}@{layout.digest}" not in containerd.images()
