"""Variants of zstd, by each mode: the same image for whoever pulls it from the upstream, whatever he knows of them."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.containers import Podman, Skopeo
from tests.rig.daemon import Daemon
from tests.rig.images import File, Layer, Layout, Text, build_image, busybox
from tests.rig.programs import Programs
from tests.rig.registry import Registry
from tests.rig.trees import EVERYTHING, mounted, special, tree
from tests.rig.until import until
from tests.rig.wire import Wire

REPOSITORY = "team/app"
NAME = f"{UPSTREAM}/{REPOSITORY}:v1"
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
MODES = ("tag-suffix", "referrer", "index")


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """How the variant is to be found."""
    mode: str = request.param
    return mode


@pytest.fixture
def daemon(directory: Path, containerd: Containerd, registry: Registry, mode: str) -> Iterator[Daemon]:
    """One that makes variants."""
    settings = {"variants": {"load": 1.0, "rules": {"all": {"mode": mode}}}}
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: registry.url}, settings=settings) as daemon:
        yield daemon
    assert not daemon.complaints()


@pytest.fixture
def layout(directory: Path) -> Layout:
    """An image that can run, of all kinds of files, one of which a later layer takes away; one layer is not packed."""
    # Of a directory that a layer changes and does not name, the time is that of its unpacking.
    directories = [special(name, tarfile.DIRTYPE, mode=0o1777, mtime=1_000_000_000) for name in ("bin", "dir")]
    gone = Layer([special("dir/.wh.pipe"), *directories, File("more", b"some more " * 1000)])
    layers = [busybox(directory.name), Layer(EVERYTHING), Layer([Text("text", 3 << 20)]), gone]
    return build_image(directory / "layout", [*layers, Layer([File("plain", b"p" * 5000)], "none")])


def found_by(registry: Registry, layout: Layout, mode: str) -> str:
    """What whoever wants the variant asks the upstream for, behind the name of the repository."""
    if mode == "tag-suffix":
        return ":v1-zstd"
    if mode == "index":
        return ":v1"
    # This registry lists no referrers itself.
    listed = registry.manifest(REPOSITORY, layout.digest.replace(":", "-"))
    assert listed
    (entry,) = json.loads(listed.raw)["manifests"]
    assert entry["artifactType"] == "application/vnd.registry-mirror.variant.zstd.v1"
    return f"@{entry['digest']}"


def test_the_same_image(  # noqa: PLR0913, PLR0917 - all that has a part in it
    directory: Path,
    containerd: Containerd,
    client_containerd: Containerd,
    registry: Registry,
    daemon: Daemon,
    programs: Programs,
    layout: Layout,
    mode: str,
) -> None:
    """Every path, mode, owner, time, link and attribute is the original's; a container runs, clients read it."""
    Wire(daemon.url).push(REPOSITORY, "v1", layout)
    (made,) = until(lambda: [x for x in daemon.log_lines() if x["event"] == "variant.made"], "there is a variant")
    daemon.wait(made["variant"], "replicated")
    reference = f"{registry.host}/{REPOSITORY}{found_by(registry, layout, mode)}"
    before = client_containerd.contents()
    client_containerd.ctr("images", "pull", "--plain-http", reference)
    assert client_containerd.run_container(reference).strip() == directory.name
    with (
        mounted(containerd, NAME, directory / "original") as original,
        mounted(client_containerd, reference, directory / "variant") as variant,
    ):
        assert tree(variant) == tree(original)
        assert {"dir/hard", "dir/marked", "text", "more", "plain"} <= tree(original).keys()
        assert "dir/pipe" not in tree(original)
    zstd = zstd_layers(registry, made["manifest"])
    assert len(zstd) == 4
    # Whoever knows nothing of variants takes what an index has first.
    new = zstd - before
    assert new & unpacked(client_containerd) == (set() if mode == "index" else new)
    assert new
    config = json.loads(layout.manifest)["config"]["digest"]
    assert config in client_containerd.contents()
    for client in (Skopeo(programs.with_state(directory)), Podman(programs.with_state(directory))):
        pulled = client.pull(reference)
        assert pulled in {made["manifest"], *entries(registry, made["manifest"])}


def unpacked(containerd: Containerd) -> set[str]:
    """The layers that it has a snapshot of."""
    lines = containerd.ctr("content", "ls").splitlines()
    return {line.split()[0] for line in lines if "containerd.io/uncompressed=" in line}


def entries(registry: Registry, digest: str) -> list[str]:
    """What an index lists, by its digest; nothing of an image."""
    stored = registry.manifest(REPOSITORY, digest)
    assert stored
    return [entry["digest"] for entry in json.loads(stored.raw).get("manifests", [])]


def zstd_layers(registry: Registry, digest: str) -> set[str]:
    """The layers of zstd in an image, or in those of an index."""
    stored = registry.manifest(REPOSITORY, digest)
    assert stored
    own = {layer["digest"] for layer in json.loads(stored.raw).get("layers", []) if layer["mediaType"] == ZSTD}
    return own.union(*(zstd_layers(registry, entry) for entry in entries(registry, digest)))
