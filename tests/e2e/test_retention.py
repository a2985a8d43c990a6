"""After many pushes over a few tags the host holds exactly what the settings name."""

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mirror.oci.manifest import chain_ids
from tests.conftest import UPSTREAM
from tests.e2e.conftest import ours
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import ARCHITECTURE, MEDIA, File, Layer, Layout, Platform, build_image, build_index
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import Wire, digest_of

PUSHES = 200
REPOSITORIES = ("team/a", "team/b", "team/c", "team/d")
TAGS = ("v1", "v2", "v3", "v4", "v5")
KEPT = 2
ELSEWHERE = Platform("s390x")
BASE = Layer([File("base", b"what all of them share")])


@pytest.fixture
def daemon(directory: Path, containerd: Containerd, registry: Registry) -> Iterator[Daemon]:
    """A daemon that keeps two tags of each repository."""
    settings = {"retention": {"tags": KEPT, "untagged": 0.1}}
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: registry.url}, settings=settings) as daemon:
        yield daemon
    assert not daemon.complaints()


@dataclass(frozen=True)
class Pushed:
    """What one push brought: blobs and manifests by digest, the snapshots that it unpacks to, what its tag leads to."""

    raw: bytes
    media_type: str
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    referrers: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    chains: frozenset[str] = frozenset()

    @property
    def content(self) -> set[str]:
        """Every digest of it."""
        return {digest_of(self.raw), *self.blobs, *self.manifests, *self.referrers}

    def send(self, wire: Wire, repository: str, tag: str) -> None:
        """Push it as clients do: blobs, manifests below, the tag, what refers to it."""
        for digest, data in self.blobs.items():
            assert wire.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", data).status == 201
        for digest, (raw, media_type) in self.manifests.items():
            assert wire.push_manifest(repository, digest, raw, media_type).status == 201
        assert wire.push_manifest(repository, tag, self.raw, self.media_type).status == 201
        for digest, (raw, media_type) in self.referrers.items():
            assert wire.push_manifest(repository, digest, raw, media_type).status == 201


def image(directory: Path, number: int) -> Pushed:
    """An image with a layer of its own; every fifth is signed, every other fifth an index of two machines."""
    layers = [BASE, Layer([File("own", str(number).encode())])]
    if number % 5 == 1:
        return _read(build_index(directory, {Platform(): layers, ELSEWHERE: [BASE]}))
    pushed = _read(build_image(directory, layers))
    return _signed(pushed) if number % 5 == 2 else pushed


def _read(layout: Layout) -> Pushed:
    """What there is in a layout."""
    manifests = (MEDIA["oci"].manifest, MEDIA["oci"].index)
    below = {child.digest: (layout.blob(child.digest).read_bytes(), child.media_type) for child in layout.children}
    return Pushed(
        layout.manifest,
        layout.top.media_type,
        blobs={digest: data for digest, (data, media_type) in below.items() if media_type not in manifests},
        manifests={digest: entry for digest, entry in below.items() if entry[1] in manifests},
        chains=frozenset(_chains(data for data, media_type in below.values() if media_type == MEDIA["oci"].config)),
    )


def _chains(configs: Iterable[bytes]) -> Iterator[str]:
    """The snapshots of those images that are for this machine."""
    for config in map(json.loads, configs):
        if config["architecture"] == ARCHITECTURE:
            yield from chain_ids(config["rootfs"]["diff_ids"])


def _signed(pushed: Pushed) -> Pushed:
    """The same, with something that refers to it."""
    config = b"{}"
    subject = {"mediaType": pushed.media_type, "digest": digest_of(pushed.raw), "size": len(pushed.raw)}
    body = {
        "schemaVersion": 2,
        "mediaType": MEDIA["oci"].manifest,
        "artifactType": "application/vnd.example.signature",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(config), "size": len(config)},
        "layers": [],
        "subject": subject,
    }
    raw = json.dumps(body).encode()
    blobs = pushed.blobs | {digest_of(config): config}
    return Pushed(
        pushed.raw,
        pushed.media_type,
        blobs,
        referrers={digest_of(raw): (raw, MEDIA["oci"].manifest)},
        chains=pushed.chains,
    )


def _is_still(daemon: Daemon) -> bool:
    counts = daemon.status()["counts"]
    return not any(kind.get(state) for kind in counts.values() for state in ("pending", "running", "parked"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_exactly_what_the_settings_name(
    directory: Path, daemon: Daemon, containerd: Containerd, registry: Registry
) -> None:
    """Content, snapshots, image records, leases and ingests, after an eviction; the upstream has all of it still."""
    wire, chance = Wire(daemon.url), random.Random(7)  # noqa: S311 - it must repeat itself
    tagged: dict[tuple[str, str], Pushed] = {}
    for number in range(PUSHES):
        where = (REPOSITORIES[number % len(REPOSITORIES)], chance.choice(TAGS))
        pushed = image(directory / f"image-{number}", number)
        pushed.send(wire, *where)
        tagged.pop(where, None)
        tagged[where] = pushed  # the last is what was pushed last
    until(lambda: _is_still(daemon), "all is upstream and unpacked", seconds=240)
    assert len(tagged) == len(REPOSITORIES) * len(TAGS)

    kept = [where for repository in REPOSITORIES for where in [w for w in tagged if w[0] == repository][-KEPT:]]
    until(lambda: not json.loads(daemon.cli("evict", "--json").stdout)["kept"], "nothing is pinned any more")
    until(lambda: not ours(containerd.leases()), "no job holds anything")
    containerd.collect_garbage()
    assert {n.removeprefix(f"{UPSTREAM}/") for n in containerd.images() if "@" not in n} == {":".join(w) for w in kept}
    assert containerd.contents() == set().union(*(tagged[where].content for where in kept))
    assert containerd.snapshots() == set().union(*(tagged[where].chains for where in kept))
    assert (ours(containerd.leases()), containerd.ingests()) == (set(), set())
    for (repository, tag), pushed in tagged.items():
        stored = registry.manifest(repository, tag)
        assert stored is not None
        assert stored.raw == pushed.raw
    assert json.loads(daemon.cli("evict", "--json").stdout)["evicted"] == []
