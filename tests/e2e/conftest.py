"""The parts of a whole way, together."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from tests.rig.clients import ctr_push, skopeo_push
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import Layout
from tests.rig.registry import Registry


@dataclass(frozen=True)
class Parts:
    """A builder's containerd, the daemon, the host's containerd and the upstream."""

    client: Containerd
    daemon: Daemon
    containerd: Containerd
    upstream: Registry

    def push(self, client: str, layout: Layout, reference: str) -> None:
        """Push a layout as it is, with `skopeo` or `ctr`."""
        if client == "ctr":
            ctr_push(self.client, layout, reference)
        else:
            skopeo_push(layout, reference)

    def compare(self, name: str, digest: str) -> None:
        """The image record, the upstream's tag and every byte below them are the pushed ones."""
        repository, _, tag = name.partition("/")[2].rpartition(":")
        assert self.containerd.images()[name] == digest
        stored = self.upstream.manifest(repository, tag)
        assert stored is not None
        assert stored.digest == digest
        self._compare_manifest(repository, digest)

    def _compare_manifest(self, repository: str, digest: str) -> None:
        stored = self.upstream.manifest(repository, digest)
        assert stored is not None
        assert stored.raw == self.containerd.content(digest)
        manifest = json.loads(stored.raw)
        for child in manifest.get("manifests", []):
            self._compare_manifest(repository, child["digest"])
        for child in [manifest["config"], *manifest["layers"]] if "config" in manifest else []:
            assert self.upstream.blob(repository, child["digest"]) == self.containerd.content(child["digest"])


@pytest.fixture
def parts(client_containerd: Containerd, daemon: Daemon, containerd: Containerd, registry: Registry) -> Parts:
    """All of them, running."""
    return Parts(client_containerd, daemon, containerd, registry)


def ours(leases: Iterable[str]) -> set[str]:
    """The leases that the daemon made."""
    return {lease for lease in leases if lease.startswith("registry-mirror/")}
