"""A host to which many images were pushed, made in minutes.

Each image is a manifest of its own, all with the same config and layers. They come into containerd and the journal by
the very rooms that the daemon works with, but not by way of requests to it, and their layers are not unpacked. That
happens in memory, where no write waits for a disk; then it moves to the disk.

One repository gets half of the images, others get ten each: what grows with a repository, and what grows with the host.
"""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from mirror import config
from mirror.app.rooms import Rooms
from mirror.core.jobs import NewJob, Outcome, State
from mirror.core.publish import JOB_LEASES
from mirror.oci.manifest import Manifest, parse_manifest
from mirror.oci.names import Digest, Reference, Repository, parse_digest, parse_tag
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import Layout, build_image, busybox

UPSTREAM = "registry.example.com"
"""The registry of all images."""
LARGE = "team/large"
"""The repository that has half of them."""

_MEMORY = Path("/dev/shm")  # noqa: S108 - what is made there has a directory of its own
_LEASE = "registry-mirror/populate"
_SMALL = 10
_AT_ONCE = 16


@dataclass(frozen=True)
class Name:
    """What one image is called."""

    repository: Repository
    tag: Reference


def names(count: int) -> Iterator[Name]:
    """The names of so many images, those of the large repository and of the small ones in turn."""
    for number in range(count):
        path = LARGE if number % 2 else f"team/small-{number // 2 // _SMALL}"
        yield Name(Repository(UPSTREAM, path), parse_tag(f"v{number}"))


def populate(count: int, directory: Path) -> None:
    """Have the root of a containerd in `directory/containerd`, and a journal in `directory/daemon`, with the images."""
    with tempfile.TemporaryDirectory(prefix="mirror-", dir=_MEMORY if _MEMORY.is_dir() else None) as scratch:
        memory = Path(scratch)
        with Containerd(memory / "containerd") as containerd:
            daemon = Daemon(memory / "daemon", containerd.address, {UPSTREAM: "http://127.0.0.1:1"})
            layout = build_image(memory / "layout", [busybox("base\n"), busybox("top\n")])
            asyncio.run(_fill(config.load(daemon.config), layout, count))
        for part in ("containerd/root", "daemon/journal.db"):
            _move(memory / part, directory / part)


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(source, target)


async def _fill(settings: config.Settings, layout: Layout, count: int) -> None:
    async with AsyncExitStack() as stack:
        filling = _Filling(await Rooms.open(settings, stack), layout)
        await filling.begin()
        remaining = names(count)  # whoever is free takes the next
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(filling.add_all(remaining))
        await filling.end()


class _Filling:
    """Brings copies of an image into a host."""

    def __init__(self, rooms: Rooms, layout: Layout) -> None:
        self._rooms = rooms
        self._layout = layout
        self._blobs = [parse_digest(blob.digest) for blob in layout.children]
        self._granted: set[Repository] = set()

    async def begin(self) -> None:
        """Bring what all images have in common."""
        await self._rooms.probe.prepare()
        await self._rooms.importers.choose(await self._rooms.probe.ask())
        await self._rooms.leases.create(_LEASE)
        for digest in self._blobs:
            await self._store(digest)

    async def _store(self, digest: Digest) -> None:
        ingest = await self._rooms.content.ingest(f"{_LEASE}/{digest}", _LEASE)
        await ingest.write(self._layout.blob(digest).read_bytes())
        await ingest.commit(digest)

    async def end(self) -> None:
        """Leave everything to what refers to it."""
        await self._rooms.leases.delete(_LEASE)

    async def add_all(self, wanted: Iterator[Name]) -> None:
        """Add images, as long as there are some."""
        for name in wanted:
            await self._add(name)

    async def _add(self, name: Name) -> None:
        """What a push leaves behind that is unpacked and replicated."""
        rooms, manifest = self._rooms, self._manifest(name)
        edges = {place: child.digest for place, child in manifest.edges().items()}
        await rooms.content.put(manifest.raw, manifest.digest, _LEASE, edges)
        await self._grant(name.repository)
        lease = f"{JOB_LEASES}{manifest.digest}"
        new = NewJob(name.repository, name.tag, manifest.digest, manifest.media_type, lease, rooms.clock.now())
        job = await rooms.jobs.enqueue(new)
        await rooms.images.point(job.image, manifest.descriptor)
        for task in await rooms.jobs.tasks(job.id):
            await rooms.jobs.settle(task, Outcome(State.DONE))

    def _manifest(self, name: Name) -> Manifest:
        document = {**json.loads(self._layout.manifest), "annotations": {"of": name.repository.image(name.tag)}}
        return parse_manifest(json.dumps(document).encode(), self._layout.top.media_type)

    async def _grant(self, repository: Repository) -> None:
        if repository in self._granted:
            return
        self._granted.add(repository)
        for digest in self._blobs:
            await self._rooms.grants.grant(repository, digest, _LEASE)
        await self._rooms.grants.settle(repository, self._blobs)
