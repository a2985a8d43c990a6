"""Making a variant: every layer of gzip becomes one of zstd, and manifests that lead to them are acknowledged."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

import structlog

from mirror.core.capacity import Capacity
from mirror.core.errors import (
    BadLayerError,
    ContentMissingError,
    JournalUnavailableError,
    RecompressionError,
    StoreUnavailableError,
)
from mirror.core.jobs import Kind, Outcome, State, Task
from mirror.core.layers import extractions
from mirror.core.ports import Clock, Content, Grants, Images, Recompressed
from mirror.core.progress import Board, Progress
from mirror.core.publish import ManifestPush
from mirror.core.pull import read_whole
from mirror.core.push import BlobPush
from mirror.core.variants.layers import Gzip, LayerConverter
from mirror.core.variants.manifests import (
    SUFFIX,
    VARIANT_OF,
    Image,
    gzip_layers,
    index,
    is_preferred,
    may_have_one,
    variant,
)
from mirror.core.variants.modes import Mode, VariantRule, Wish, choose
from mirror.core.variants.quiet import Pace, Quiet, anyway
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.manifest import MAX_MANIFEST, Manifest, parse_config, parse_manifest
from mirror.oci.names import Digest, Reference, Repository, parse_tag

_log = structlog.get_logger(__name__)

_NOT_WANTED = "no variant is wanted of it any more"
_REFUSALS = (BadLayerError, ContentMissingError, RecompressionError, RegistryError)
_LATER = 60.0
_CLEAR_EVERY = 1.0


class UnwantedError(Exception):
    """There is nothing to be made of an image, or nobody wants it any more."""


class _MakeWayError(Exception):
    """Somebody waits for another one."""


class _CancelledError(Exception):
    """An operator gave it up; says in which words."""


@dataclass(frozen=True, slots=True)
class Made:
    """What was made: the `image` by whose name it is found, and the bytes of the layers before and after."""

    image: str
    digest: Digest
    before: int
    after: int

    @property
    def gain(self) -> float:
        """By which share they are smaller."""
        return 1 - self.after / self.before


@dataclass(frozen=True, slots=True)
class _Errand:
    """What is to be made of a manifest, for as long as the name leads there: for a job, or at once for a person."""

    repository: Repository
    reference: Reference
    manifest: Manifest
    wish: Wish
    progress: Progress
    job: int | None

    @property
    def is_for_a_person(self) -> bool:
        """Whether somebody waits for it."""
        return self.job is None

    @property
    def may_have_one(self) -> bool:
        """Whether it is worth looking closer."""
        return may_have_one(self.manifest, self.wish.mode, has_tag=self.reference.tag is not None)

    @property
    def name(self) -> str:
        return self.repository.image(self.reference)


class Converter:
    """The use cases of variants: behind every `convert` task, and of `registry-mirror convert`. One at a time."""

    def __init__(  # noqa: PLR0913 - its collaborators, each by name
        self,
        *,
        content: Content,
        grants: Grants,
        images: Images,
        blobs: BlobPush,
        manifests: ManifestPush,
        layers: LayerConverter,
        capacity: Capacity,
        board: Board,
        clock: Clock,
        quiet: Quiet,
        rules: Sequence[VariantRule],
    ) -> None:
        self._content = content
        self._grants = grants
        self._images = images
        self._blobs = blobs
        self._manifests = manifests
        self._layers = layers
        self._capacity = capacity
        self._board = board
        self._clock = clock
        self.quiet = quiet
        self.rules = rules
        self._alone = asyncio.Lock()
        self._people = 0
        self._attempted: dict[int, str] = {}

    def is_wanted(self, repository: Repository, reference: Reference, manifest: Manifest) -> bool:
        """Whether there may be a variant to make of what is pushed under a name."""
        wish = choose(self.rules, repository)
        return wish is not None and may_have_one(manifest, wish.mode, has_tag=reference.tag is not None)

    async def clear(self) -> None:
        """Drop what an earlier life was in the middle of, as soon as containerd lets us."""
        while True:
            try:
                return await self._blobs.drop_made()
            except (StoreUnavailableError, JournalUnavailableError):
                await self._clock.sleep(_CLEAR_EVERY)

    async def attempt(self, task: Task) -> Outcome:
        """Make the variant of what a job brought; whatever is in the way of that, the original is as it was.

        Raises:
            StoreUnavailableError, JournalUnavailableError: it may be possible later.
        """
        job = task.job
        wish = choose(self.rules, job.repository)
        if wish is None:
            async with self._alone:
                await self._layers.give_up(job.repository)
            return Outcome(State.SKIPPED, _NOT_WANTED)
        with self._board.entry(job.id, Kind.CONVERT) as progress, self._may_be_cancelled(job.id):
            try:
                manifest = await self._load(job.digest, job.media_type)
                errand = _Errand(job.repository, job.reference, manifest, wish, progress, job.id)
                made = await self._convert(errand)
            except (UnwantedError, _MakeWayError, _CancelledError, *_REFUSALS) as error:
                return self._ended(error)
        return Outcome(State.DONE, f"{made.image}: {made.gain:.0%} smaller")

    def cancel(self, job_id: int, reason: str) -> bool:
        """Have the attempt at a job given up, which takes about a second; False if there is none."""
        if job_id not in self._attempted:
            return False
        self._attempted[job_id] = reason
        return True

    @contextmanager
    def _may_be_cancelled(self, job_id: int) -> Iterator[None]:
        self._attempted[job_id] = ""
        try:
            yield
        finally:
            del self._attempted[job_id]

    def _ended(self, error: Exception) -> Outcome:
        """What becomes of a task that made nothing."""
        match error:
            case _MakeWayError():
                return Outcome(State.PENDING, "a conversion by hand goes first")
            case _CancelledError():
                return Outcome(State.CANCELLED, str(error))
            case RegistryError() if _is_for_now(error):
                return Outcome(State.PENDING, str(error), self._clock.now() + _LATER)
        if isinstance(error, _REFUSALS):
            _log.warning("variant.refused", reason=str(error))
        return Outcome(State.SKIPPED, str(error))

    async def convert(self, repository: Repository, reference: Reference, wish: Wish, progress: Progress) -> Made:
        """Make a variant at once, whatever else goes on: a person waits for it.

        Raises:
            UnwantedError, BadLayerError, ContentMissingError, RecompressionError, StoreUnavailableError,
            JournalUnavailableError; RegistryError: MANIFEST_UNKNOWN, DRAINING, NO_ROOM and so on.
        """
        record = await self._images.get(repository.image(reference))
        digest = record.target.digest if record else reference.digest
        media_type = digest and await self._grants.media_type(repository, digest)
        if digest is None or media_type is None:
            raise RegistryError(Problem.MANIFEST_UNKNOWN, repository.image(reference))
        manifest = await self._load(digest, media_type)
        self._people += 1
        try:
            return await self._convert(_Errand(repository, reference, manifest, wish, progress, job=None))
        finally:
            self._people -= 1

    async def _load(self, digest: Digest, media_type: str) -> Manifest:
        return parse_manifest(await read_whole(self._content, digest, MAX_MANIFEST), media_type)

    async def _convert(self, errand: _Errand) -> Made:
        async with self._alone:
            await self._blobs.drop_made()  # what could not be dropped when it failed, as containerd was away
            try:
                return await self._make(errand)
            except BaseException as error:
                if not _is_gone_on_with(errand, error):
                    await asyncio.shield(self._layers.give_up(errand.repository))
                raise

    async def _make(self, errand: _Errand) -> Made:
        wish, progress = errand.wish, errand.progress
        if not errand.may_have_one:
            raise UnwantedError(f"nothing to convert in it for the mode {wish.mode}")
        images = await self._find(errand.repository, errand.manifest)
        gzips = {gzip.layer.digest: gzip for image in images for gzip in await self._gzips(image.manifest)}
        if not gzips:
            raise UnwantedError("it has no layer of gzip")
        before = progress.of = sum(gzip.layer.size for gzip in gzips.values())
        progress.layers_of = len(gzips)
        await self._check_what_is_known(gzips, wish)
        disturbed = anyway if errand.is_for_a_person else self.quiet.disturbed
        pace = Pace(self._clock, disturbed, partial(self._check, errand), progress)
        made: dict[Digest, Recompressed] = {}
        for digest, gzip in gzips.items():
            await pace.turn()
            done = progress.done
            made[digest] = await self._layers.convert(errand.repository, gzip, wish.level, pace.keep)
            progress.done = done + gzip.layer.size
            progress.layers_done += 1
        _check_gain(before, made, wish)
        await pace.turn()
        image, digest = await self._publish(errand, images, made)
        result = Made(image, digest, before, sum(each.size for each in made.values()))
        _log.info("variant.made", variant=image, manifest=digest, before=before, after=result.after)
        return result

    async def _check_what_is_known(self, gzips: Mapping[Digest, Gzip], wish: Wish) -> None:
        """What was converted before need not be converted to see that it does not pay."""
        known = {digest: await self._layers.known(gzip, wish.level) for digest, gzip in gzips.items()}
        made = {digest: found for digest, found in known.items() if found}
        if len(made) == len(gzips):
            _check_gain(sum(gzip.layer.size for gzip in gzips.values()), made, wish)

    async def _find(self, repository: Repository, manifest: Manifest) -> list[Image]:
        """The images in a manifest that have layers of gzip: itself, or those of an index that are here."""
        if not manifest.manifests:
            if not gzip_layers(manifest) or manifest.config is None:
                return []
            config = parse_config(await read_whole(self._content, manifest.config.digest, MAX_MANIFEST))
            return [Image(manifest, config.platform)]
        found: list[Image] = []
        for child in manifest.manifests:
            media_type = await self._grants.media_type(repository, child.digest)
            if media_type is None:
                continue
            image = await self._load(child.digest, media_type)
            if image.is_runnable and not image.manifests and not is_preferred([child]):
                found += await self._find(repository, image)
        return found

    async def _gzips(self, manifest: Manifest) -> list[Gzip]:
        """Its layers of gzip, with what its config says of them. Raises BadLayerError: the two are at odds."""
        if manifest.config is None:
            return []
        config = parse_config(await read_whole(self._content, manifest.config.digest, MAX_MANIFEST))
        diff_ids = {step.layer.digest: step.diff_id for step in extractions(manifest.layers, config.rootfs.diff_ids)}
        return [Gzip(layer, diff_ids[layer.digest]) for layer in gzip_layers(manifest)]

    async def _check(self, errand: _Errand) -> None:
        """Raise UnwantedError if the name does not lead to the original any more, or there is no room."""
        if errand.job is not None:
            if reason := self._attempted[errand.job]:
                raise _CancelledError(reason)
            if choose(self.rules, errand.repository) is None:
                raise UnwantedError(_NOT_WANTED)
            if self._people:
                raise _MakeWayError
        record = await self._images.get(errand.name)
        if record is None:
            raise UnwantedError("the image is gone")
        if record.target.digest != errand.manifest.digest:
            raise UnwantedError("the tag has moved on")
        if self._capacity.excess() > 0:
            raise UnwantedError("the disk is nearly full")

    async def _publish(
        self, errand: _Errand, images: Sequence[Image], made: Mapping[Digest, Recompressed]
    ) -> tuple[str, Digest]:
        """Acknowledge the variants, what leads to them last; returns the name by which they are found."""
        original, mode = errand.manifest, errand.wish.mode
        variants = {image.manifest.digest: (image, variant(image.manifest, made, mode)) for image in images}
        leads, tops = mode is Mode.INDEX or bool(original.manifests), [each for _, each in variants.values()]
        top = index(original, variants, mode) if leads else tops.pop()
        if mode is Mode.INDEX and original.manifests:
            # Nothing else leads to it any more, once the tag does not.
            tops.append(original)
        for each in tops:
            await self._put(errand, Reference(None, each.digest), each)
        reference = await self._found_by(errand, top)
        await self._put(errand, reference, top)
        return errand.repository.image(reference), top.digest

    async def _found_by(self, errand: _Errand, top: Manifest) -> Reference:
        """What a variant is found by. Raises UnwantedError: somebody else has that tag."""
        if errand.wish.mode is Mode.REFERRER:
            return Reference(None, top.digest)
        if errand.wish.mode is Mode.INDEX:
            return errand.reference
        reference = parse_tag(f"{errand.reference}{SUFFIX}")
        record = await self._images.get(errand.repository.image(reference))
        if record and not await self._is_ours(errand.repository, record.target.digest):
            raise UnwantedError(f"the tag {reference} is not of a variant")
        return reference

    async def _is_ours(self, repository: Repository, digest: Digest) -> bool:
        media_type = await self._grants.media_type(repository, digest)
        if media_type is None:
            return False
        with suppress(ContentMissingError):
            return VARIANT_OF in (await self._load(digest, media_type)).annotations
        return False

    async def _put(self, errand: _Errand, reference: Reference, manifest: Manifest) -> None:
        """Acknowledge a manifest, unless it was already, and is there."""
        record = await self._images.get(errand.repository.image(reference))
        if record is None or record.target.digest != manifest.digest:
            await self._manifests.derive(errand.repository, reference, manifest, partial(self._check, errand))


def _check_gain(before: int, made: Mapping[Digest, Recompressed], wish: Wish) -> None:
    """Raise UnwantedError if the layers together do not get smaller enough."""
    gain = 1 - sum(each.size for each in made.values()) / before
    if gain < wish.least:
        raise UnwantedError(f"{gain:.1%} smaller, and not {wish.least:.0%}")


def _is_gone_on_with(errand: _Errand, error: BaseException) -> bool:
    """Whether the layers that are done will be used: a task comes back after what passes, and after a restart."""
    if errand.is_for_a_person:
        return False
    if isinstance(error, RegistryError):
        return _is_for_now(error)
    passes = (asyncio.CancelledError, _MakeWayError, StoreUnavailableError, JournalUnavailableError)
    return isinstance(error, passes)


def _is_for_now(error: RegistryError) -> bool:
    """Whether it may be possible later: there is no room, a drain, nobody who could be asked."""
    return error.problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR or (
        error.problem.status == HTTPStatus.TOO_MANY_REQUESTS
    )
