"""What is here of what was pushed to us, as retention needs to know it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from mirror.core.concurrency import in_order
from mirror.core.errors import ContentMissingError
from mirror.core.ports import Container, Containers, Content, Grants, Image, Images, Pulled, Push, Snapshots, Usage
from mirror.core.pull import read_whole
from mirror.core.retention import Held, Pin
from mirror.oci.errors import RegistryError
from mirror.oci.manifest import MAX_MANIFEST, Descriptor, Manifest, chain_ids, parse_config, parse_manifest
from mirror.oci.names import Digest, Reference, Repository, split_image

# What is asked of the journal together is one transaction.
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Stock:
    """The images here that were pushed to us, and the id of each repository's newest job when it was looked."""

    images: list[Held]
    newest: Mapping[Repository, int]


@dataclass(frozen=True, slots=True)
class _Node:
    """What a manifest says, without its bytes. `chain_id` is what its topmost layer is called once it is unpacked."""

    size: int
    blobs: tuple[Descriptor, ...]
    children: tuple[Descriptor, ...]
    subject: Digest | None
    chain_id: str | None


@dataclass(slots=True)
class _Tree:
    """What an image leads to."""

    content: dict[Digest, int]
    manifests: set[Digest]
    chain_ids: set[str]


@dataclass(frozen=True, slots=True)
class _InUse:
    """What containers were made from: names of images, and snapshots."""

    names: frozenset[str]
    snapshots: frozenset[str]

    def pins(self, name: str, chain_ids: set[str]) -> set[Pin]:
        """What containers pin of an image; its name may lead to another one since."""
        return {Pin.IN_USE} if name in self.names or chain_ids & self.snapshots else set()


class Inventory:
    """Takes stock of the image records of `registries` whose manifests were pushed to us.

    Manifests never change, so what they say is remembered for as long as they are here.
    """

    def __init__(
        self,
        *,
        content: Content,
        images: Images,
        snapshots: Snapshots,
        containers: Containers,
        grants: Grants,
        usage: Usage,
        registries: frozenset[str],
    ) -> None:
        self._content = content
        self._images = images
        self._snapshots = snapshots
        self._containers = containers
        self._grants = grants
        self._usage = usage
        self._registries = registries
        self._known: dict[Digest, _Node] = {}

    async def take(self) -> Stock:
        """Look at all of it. Raises StoreUnavailableError, JournalUnavailableError."""
        stock = await self.look(lambda records: records)
        here = {digest for image in stock.images for digest in image.manifests}
        self._known = {digest: node for digest, node in self._known.items() if digest in here}
        return stock

    async def look(self, choose: Callable[[list[Image]], list[Image]]) -> Stock:
        """Look only at the records that are chosen of all. Raises StoreUnavailableError, JournalUnavailableError."""
        # Oldest first, and before all else: a push that comes meanwhile is a newer job of its repository.
        pushes = {push.job.image: push for push in await self._usage.pushes()}
        pulls = {(pulled.repository, pulled.digest): pulled for pulled in await self._usage.pulls()}
        in_use = await self._in_use()
        # On a thread: it may be a hundred thousand.
        chosen = await asyncio.to_thread(choose, await self._records())
        held = partial(self._held, pushes=pushes, pulls=pulls, in_use=in_use)
        images = [image async for image in in_order(held, chosen, _AT_ONCE) if image]
        return Stock(images, {push.job.repository: push.job.id for push in pushes.values()})

    async def _records(self) -> list[Image]:
        return [image for registry in sorted(self._registries) for image in await self._images.list(f"{registry}/")]

    async def _in_use(self) -> _InUse:
        containers = await self._containers.list()
        parents = {snapshot.key: snapshot.parent for snapshot in await self._snapshots.list()} if containers else {}
        return _InUse(frozenset(one.image for one in containers), frozenset(_base(one, parents) for one in containers))

    async def _held(
        self,
        image: Image,
        pushes: Mapping[str, Push],
        pulls: Mapping[tuple[Repository, Digest], Pulled],
        in_use: _InUse,
    ) -> Held | None:
        """An image as retention sees it; None when it is not one of ours."""
        named = self._named(image.name)
        media_type = named and await self._grants.media_type(named[0], image.target.digest)
        if not named or not media_type:
            return None
        (repository, reference), digest = named, image.target.digest
        tree = _Tree({digest: image.target.size}, {digest}, set())
        node = await self._climb(repository, image.target, media_type, tree)
        push, pulled = pushes.get(image.name), pulls.get((repository, digest))
        return Held(
            name=image.name,
            repository=repository,
            tag=reference.tag,
            digest=digest,
            pushed=push.job.id if push else 0,
            used=push.used if push else max(image.updated, (pulled and pulled.used) or 0.0),
            content=tree.content,
            manifests=frozenset(tree.manifests),
            subject=node.subject if node else None,
            pins=frozenset(_pins(image, push, is_pulled=pulled is not None) | in_use.pins(image.name, tree.chain_ids)),
        )

    def _named(self, name: str) -> tuple[Repository, Reference] | None:
        """What a record is called in our words; None when nothing of ours is called like that."""
        try:
            repository, reference = split_image(name, self._registries, "")
        except RegistryError:
            return None
        return (repository, reference) if repository.image(reference) == name else None

    async def _climb(self, repository: Repository, target: Descriptor, media_type: str, tree: _Tree) -> _Node | None:
        """Add what a manifest leads to; what an index lists counts as a manifest where the repository was given it."""
        node = await self._node(target.digest, media_type)
        if node is None:
            return None
        tree.content[target.digest] = node.size
        tree.content.update({blob.digest: blob.size for blob in node.blobs})
        tree.chain_ids |= {node.chain_id} if node.chain_id else set()
        for child in node.children:
            await self._add(repository, child, tree)
        return node

    async def _add(self, repository: Repository, child: Descriptor, tree: _Tree) -> None:
        media_type = await self._grants.media_type(repository, child.digest)
        if child.digest in tree.manifests or not await self._grants.granted(repository, [child.digest]):
            return
        tree.content[child.digest] = child.size
        if media_type:
            tree.manifests.add(child.digest)
            await self._climb(repository, child, media_type, tree)

    async def _node(self, digest: Digest, media_type: str) -> _Node | None:
        """What a manifest says; None when it is gone, or cannot be read."""
        if digest not in self._known:
            try:
                manifest = parse_manifest(await read_whole(self._content, digest, MAX_MANIFEST), media_type)
                self._known[digest] = await self._read(manifest)
            except (ContentMissingError, RegistryError):
                return None
        return self._known[digest]

    async def _read(self, manifest: Manifest) -> _Node:
        subject = manifest.subject.digest if manifest.subject else None
        chain_id = await self._chain_id(manifest)
        return _Node(len(manifest.raw), manifest.blobs, manifest.manifests, subject, chain_id)

    async def _chain_id(self, manifest: Manifest) -> str | None:
        if not manifest.is_runnable or manifest.config is None:
            return None
        try:
            config = parse_config(await read_whole(self._content, manifest.config.digest, MAX_MANIFEST))
        except (ContentMissingError, RegistryError):
            return None
        return next(reversed(chain_ids(config.rootfs.diff_ids)), None)


def _base(container: Container, parents: Mapping[str, str]) -> str:
    """The layers that a container writes on top of; empty when it has none."""
    return parents.get(container.snapshot, "")


def _pins(image: Image, push: Push | None, *, is_pulled: bool) -> set[Pin]:
    """What pushes pin of an image; a tag that others made is not known to be upstream, unless it came from there."""
    pins: set[Pin] = set()
    if is_pulled:
        return pins
    if push is None or not push.is_upstream or push.job.digest != image.target.digest:
        pins.add(Pin.NOT_UPSTREAM)
    if push and push.is_busy:
        pins.add(Pin.UNPACKING)
    return pins
