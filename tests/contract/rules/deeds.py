"""What clients and the daemon do at the same time, each as one deed, so that a model can mix them."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from mirror.core.access import ANONYMOUS
from mirror.core.jobs import Kind, Outcome, State, Task
from mirror.core.upload import Chunk
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.manifest import IMAGES, INDEXES, Manifest, parse_manifest
from mirror.oci.names import Digest, Reference, Repository
from tests.contract.rules.lives import Life
from tests.rig.images import Layout

_HORIZON = 3600.0


@dataclass(frozen=True)
class Pushed:
    """An image, or an index of some, as clients push it: its blobs, and its manifests from the leaves up."""

    layout: Layout
    blobs: list[Digest]
    manifests: list[Manifest]

    @classmethod
    def read(cls, layout: Layout) -> "Pushed":
        """Take an image apart."""
        blobs, manifests = [], []
        for part in [*layout.children, layout.top]:
            if part.media_type in IMAGES | INDEXES:
                manifests.append(parse_manifest(layout.blob(part.digest).read_bytes()))
            else:
                blobs.append(Digest(part.digest))
        return cls(layout, blobs, manifests)

    def needs(self, manifest: Manifest) -> frozenset[Digest]:
        """The digests of all that a manifest stands for, itself included."""
        below = [child.digest for child in manifest.edges().values()]
        further = [self.needs(child) for child in self.manifests if child.digest in below]
        return frozenset({manifest.digest, *below}).union(*further)


@dataclass
class Scene:
    """Where deeds are done: the life of the daemon, the images there are, and which jobs were acknowledged."""

    life: Life
    images: list[Pushed]
    acknowledged: set[int] = field(default_factory=set)

    @property
    def needs(self) -> Mapping[Digest, frozenset[Digest]]:
        """What each manifest needs."""
        return {one.digest: image.needs(one) for image in self.images for one in image.manifests}

    async def is_complete(self, manifest: Digest) -> bool:
        """Whether the store has all that a manifest needs."""
        return None not in [await self.life.content.size(digest) for digest in self.needs[manifest]]


class Deed(Protocol):
    """Something that is done; what it raises is a failure of the daemon."""

    async def do(self, scene: Scene) -> None:
        """Do it."""


@dataclass(frozen=True)
class Push:
    """A client pushes an image; it may ask first whether a blob is there, and for a mount."""

    image: int
    repository: Repository
    tag: str
    asks: bool
    mounts: bool

    async def do(self, scene: Scene) -> None:
        """Blobs, then manifests by digest, then the tag."""
        image, publishing = scene.images[self.image], scene.life.publishing
        for blob in image.blobs:
            await self._blob(scene.life, blob, image.layout.blob(blob).read_bytes())
        *leaves, top = image.manifests
        for manifest in (*leaves, top):
            reference = Reference(self.tag, None) if manifest is top else Reference(None, manifest.digest)
            pushed = await publishing.put(self.repository, [reference], manifest.media_type, manifest.raw, ANONYMOUS)
            scene.acknowledged.add(pushed.jobs[0].id)

    async def _blob(self, life: Life, digest: Digest, data: bytes) -> None:
        if self.asks and await self._is_there(life, digest):
            return
        if not (self.mounts and await life.pushing.mount(self.repository, digest, None)):
            await life.pushing.push(self.repository, digest, Chunk(_body(data), None, len(data)))

    async def _is_there(self, life: Life, digest: Digest) -> bool:
        granted = await life.grants.granted(self.repository, [digest])
        return bool(granted) and await life.content.size(digest) is not None


@dataclass(frozen=True)
class Vanish:
    """A client begins an upload and is never seen again."""

    repository: Repository

    async def do(self, scene: Scene) -> None:
        """One chunk."""
        pushing = scene.life.pushing
        upload = await pushing.begin(self.repository)
        await pushing.append(self.repository, upload.id, Chunk(_body(b"the first half"), None, None))


@dataclass(frozen=True)
class Untag:
    """A client deletes a tag, which may not be there."""

    repository: Repository
    tag: str

    async def do(self, scene: Scene) -> None:
        """The manifest stays the repository's."""
        with _refused(Problem.MANIFEST_UNKNOWN):
            await scene.life.removal.manifest(self.repository, Reference(self.tag, None))


@dataclass(frozen=True)
class Delete:
    """A client deletes an image with all its parts, which may not be there."""

    repository: Repository
    image: int

    async def do(self, scene: Scene) -> None:
        """Each by its digest, and what refers to others first."""
        image, removal = scene.images[self.image], scene.life.removal
        for manifest in reversed(image.manifests):
            with _refused(Problem.MANIFEST_UNKNOWN):
                await removal.manifest(self.repository, Reference(None, manifest.digest))
        for blob in image.blobs:
            with _refused(Problem.BLOB_UNKNOWN):
                await removal.blob(self.repository, blob)


@dataclass(frozen=True)
class Work:
    """A worker carries out a task of a kind, if there is one; the upstream takes everything."""

    kind: Kind

    async def do(self, scene: Scene) -> None:
        """As in `mirror.core.worker`, without its loop, and with no error forgiven."""
        life = scene.life
        task = await life.jobs.claim(self.kind, life.clock.now(), _HORIZON)
        if task is not None:
            await life.jobs.settle(task, await self._attempt(scene, task))
            await life.job_leases.release(task.job)

    async def _attempt(self, scene: Scene, task: Task) -> Outcome:
        if self.kind is Kind.UNPACK:
            return await scene.life.unpacker.attempt(task)
        assert await scene.is_complete(task.job.digest)
        return Outcome(State.DONE)


@dataclass(frozen=True)
class Late:
    """A deed that begins when others are under way already."""

    deed: Deed
    turns: int

    async def do(self, scene: Scene) -> None:
        """Leave as many turns to the others."""
        for _ in range(self.turns):
            await asyncio.sleep(0)
        await self.deed.do(scene)


@dataclass(frozen=True)
class Mend:
    """The reconciler makes a round."""

    async def do(self, scene: Scene) -> None:
        """Beside whatever is under way."""
        await scene.life.reconciler.check(_hear, repair=True)


async def _hear(_: object) -> None:
    """What a round found is seen by what is left at the end."""


async def _body(data: bytes) -> AsyncIterator[bytes]:
    yield data


@contextmanager
def _refused(problem: Problem) -> Iterator[None]:
    """Let a refusal pass that a client may get."""
    try:
        yield
    except RegistryError as error:
        assert error.problem is problem  # noqa: PT017 - any other problem is none that it may get
