"""A host on which other tools work on the same containerd as the daemon."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.conftest import UPSTREAM
from tests.faults.way import UPLOAD
from tests.rig.daemon import Daemon
from tests.rig.faults import Stall
from tests.rig.halting import HaltingContainerd
from tests.rig.images import MEDIA
from tests.rig.proxy import Proxy
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import Answer, Wire, digest_of, manifest

OURS = "registry-mirror/"
_PART = 500_000


@dataclass(frozen=True)
class Pushed:
    """An image of one layer, of bytes that no other test has."""

    config: bytes
    layer: bytes

    @classmethod
    def fresh(cls, size: int = 200_000) -> "Pushed":
        """One with a layer of some bytes."""
        return cls(secrets.token_bytes(100), secrets.token_bytes(size))

    @property
    def raw(self) -> bytes:
        """Its manifest."""
        return manifest(self.config, self.layer)

    @property
    def digest(self) -> str:
        """The digest of its manifest."""
        return digest_of(self.raw)

    @property
    def blobs(self) -> tuple[bytes, bytes]:
        """What its manifest names."""
        return self.config, self.layer

    @property
    def everything(self) -> set[str]:
        """All digests of it."""
        return {self.digest, *map(digest_of, self.blobs)}


@dataclass(frozen=True)
class Host:
    """The daemon, its containerd and its upstream, which tests of a file share; the repository is the test's own."""

    daemon: Daemon
    containerd: HaltingContainerd
    registry: Registry
    proxy: Proxy
    repository: str
    before: frozenset[str]
    """The leases of the daemon that other tests left behind."""

    @property
    def wire(self) -> Wire:
        """Requests to the daemon."""
        return Wire(self.daemon.url)

    def name(self, reference: str = "v1", repository: str = "") -> str:
        """The name of an image record."""
        separator = "@" if ":" in reference else ":"
        return f"{UPSTREAM}/{repository or self.repository}{separator}{reference}"

    def blob(self, data: bytes, method: str = "HEAD", repository: str = "") -> Answer:
        """Ask for a blob."""
        return self.wire.ask(method, f"/v2/{repository or self.repository}/blobs/{digest_of(data)}")

    def manifest(self, reference: str = "v1", method: str = "HEAD") -> Answer:
        """Ask for a manifest."""
        return self.wire.ask(method, f"/v2/{self.repository}/manifests/{reference}")

    def tags(self) -> list[str]:
        """The tags that the daemon lists."""
        tags: list[str] = json.loads(self.wire.ask("GET", f"/v2/{self.repository}/tags/list").body)["tags"]
        return tags

    def push_blobs(self, image: Pushed) -> None:
        """Push what an image's manifest names."""
        for blob in image.blobs:
            self.wire.push_blob(self.repository, blob)

    def tag(self, image: Pushed, reference: str = "v1", repository: str = "") -> Answer:
        """Push the manifest of an image."""
        return self.wire.push_manifest(repository or self.repository, reference, image.raw)

    def push(self, image: Pushed, reference: str = "v1") -> None:
        """Push an image."""
        self.push_blobs(image)
        assert self.tag(image, reference).status == 201

    @contextmanager
    def sending(self, image: Pushed) -> Iterator[None]:
        """Push an image whose layer is on its way upstream meanwhile, and gets no further; then the connection ends."""
        uploads = f"/{self.repository}{UPLOAD}"
        self.proxy.arm(Stall(_PART), "PUT|PATCH", uploads)
        self.push(image)
        until(lambda: [r for r in self.proxy.seen("PUT|PATCH", uploads) if r.taken >= _PART], "the layer is being sent")
        yield
        self.proxy.disarm()
        self.proxy.cut_all()

    def push_index(self, *children: Pushed, reference: str = "v1") -> str:
        """Push an index of images; returns its digest."""
        entries = [
            {"mediaType": MEDIA["oci"].manifest, "digest": child.digest, "size": len(child.raw)} for child in children
        ]
        raw = json.dumps({"schemaVersion": 2, "mediaType": MEDIA["oci"].index, "manifests": entries}).encode()
        answer = self.wire.push_manifest(self.repository, reference, raw, MEDIA["oci"].index)
        assert answer.status == 201, answer
        return digest_of(raw)

    def status(self, reference: str = "v1") -> dict[str, Any]:
        """What the daemon says of the newest job of a tag or digest."""
        answer = self.wire.ask("GET", f"/v2/{self.repository}/_mirror/status/{reference}")
        status: dict[str, Any] = json.loads(answer.body)
        return status

    def becomes(self, phase: str, reference: str = "v1") -> dict[str, Any]:
        """Wait until a job is in a phase; returns its status then."""
        until(lambda: self.status(reference)["phase"] == phase, f"{reference} is {phase}")
        return self.status(reference)

    def settled(self, reference: str = "v1") -> None:
        """Wait until nothing but its image record holds an image."""
        self.becomes("replicated", reference)
        until(lambda: not self.leases("job/"), "the lease is released")

    def leases(self, kind: str = "") -> set[str]:
        """The leases that the daemon made in this test."""
        return {lease for lease in self.containerd.leases() if lease.startswith(OURS + kind)} - self.before

    def remove_leases(self, kind: str = "") -> None:
        """Remove the leases of the daemon, as a person may who wants room on the disk; then all goes that is free."""
        for lease in self.leases(kind):
            self.containerd.ctr("leases", "rm", "--sync", lease)
        self.containerd.collect_garbage()

    def remove_images(self, repository: str = "") -> None:
        """Remove all names of a repository, as kubelet does, and all that is free then."""
        for name in self.containerd.images():
            if name.startswith((self.name("", repository), f"{UPSTREAM}/{repository or self.repository}@")):
                self.containerd.ctr("images", "rm", "--sync", name)
        self.containerd.collect_garbage()

    def remove_content(self, *blobs: bytes) -> None:
        """Remove content, whoever refers to it."""
        self.containerd.ctr("content", "rm", *map(digest_of, blobs))

    def is_here(self, image: Pushed) -> bool:
        """Whether containerd has all of an image."""
        return image.everything <= self.containerd.contents()

    def is_gone(self, image: Pushed) -> bool:
        """Whether containerd has nothing of an image any more.

        A round of the daemon that saw its job end may hold it again, for the moment that it takes to see that.
        """
        self.containerd.collect_garbage()
        return not image.everything & self.containerd.contents()

    def outage_is_noticed(self) -> None:
        """Wait until the daemon takes the upstream to be away: from then on no job is attempted."""
        until(lambda: self.daemon.status()["upstreams"][UPSTREAM]["state"] == "away", "the upstream is away")

    def is_upstream(self, image: Pushed, reference: str = "v1") -> bool:
        """Whether the upstream has all of an image, byte for byte."""
        stored = self.registry.manifest(self.repository, reference)
        blobs = [self.registry.blob(self.repository, digest_of(blob)) for blob in image.blobs]
        return stored is not None and stored.raw == image.raw and blobs == list(image.blobs)
