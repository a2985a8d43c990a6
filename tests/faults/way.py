"""The way of an image upstream: pushed to the daemon, and seen at its end."""

import random
from dataclasses import dataclass
from typing import Any

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.proxy import Proxy
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import Wire, digest_of, manifest

REPOSITORY = "team/app"
CONFIG = b"{}"
PASSWORD = "hunter2"  # noqa: S105 - it opens nothing
SIZE = 4_000_000


def layer(seed: int = 7, size: int = SIZE) -> bytes:
    """Bytes that are the same in each run."""
    return random.Random(seed).randbytes(size)  # noqa: S311 - they must repeat themselves


LAYER = layer()
HALF = len(LAYER) // 2
BEGIN = "/blobs/uploads/$"
UPLOAD = "/blobs/uploads/."


@dataclass(frozen=True)
class Way:
    """The daemon between its containerd and the proxy before the registry."""

    daemon: Daemon
    containerd: Containerd
    registry: Registry
    proxy: Proxy

    def push(self, data: bytes = LAYER, tag: str = "v1", *, alone: bool = False) -> bytes:
        """Push an image with one layer; returns its manifest.

        With `alone` it has no other blob: then the requests of its job come one after the other.
        """
        wire, raw = Wire(self.daemon.url), manifest(data) if alone else manifest(CONFIG, data)
        for blob in (CONFIG, data):
            wire.push_blob(REPOSITORY, blob)
        assert wire.push_manifest(REPOSITORY, tag, raw).status == 201
        return raw

    def arrives(self, raw: bytes, data: bytes = LAYER, tag: str = "v1") -> None:
        """Wait until the daemon says that a push is upstream, and look there."""
        self.daemon.wait(f"{UPSTREAM}/{REPOSITORY}:{tag}", "replicated")
        stored = self.registry.manifest(REPOSITORY, tag)
        assert stored is not None
        assert stored.raw == raw
        assert self.registry.blob(REPOSITORY, digest_of(data)) == data
        assert self.registry.blob(REPOSITORY, digest_of(CONFIG)) == CONFIG

    def task(self, state: str) -> dict[str, Any]:
        """Wait for a replication in some state."""

        def found() -> list[dict[str, Any]]:
            tasks = self.daemon.status()["tasks"]
            return [task for task in tasks if (task["kind"], task["state"]) == ("replicate", state)]

        return until(found, f"a replication is {state}")[0]

    def sent(self) -> list[int]:
        """Of each request that carried a part of a layer, how many bytes."""
        return [request.taken for request in self.proxy.seen("PATCH|PUT", UPLOAD) if request.size]

    def pause_after(self, status: int) -> float:
        """How many seconds after the request that was answered so the next one came, whichever it was."""
        requests = self.proxy.requests
        at = next(at for at, request in enumerate(requests) if request.status == status)
        return requests[at + 1].at - requests[at].at

    def remove(self, data: bytes) -> None:
        """Take a blob out of containerd, whoever holds it."""
        self.containerd.ctr("content", "rm", digest_of(data))

    def is_held(self, data: bytes = LAYER) -> bool:
        """Whether containerd keeps a layer, with only a lease of the daemon to hold it."""
        for name in self.containerd.images():
            self.containerd.ctr("images", "rm", "--sync", name)
        self.containerd.collect_garbage()
        return digest_of(data) in self.containerd.contents()
