"""Making a variant: every layer of gzip becomes one of zstd, and manifests that lead to them are acknowledged."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from mirror.core.ports import Clock, Images, Recompressed
from mirror.core.progress import Board, Progress
from mirror.core.push import BlobPush
from mirror.core.variants.errand import Errand, UnwantedError
from mirror.core.variants.layers import Gzip, LayerConverter
from mirror.core.variants.manifests import may_have_one
from mirror.core.variants.modes import VariantRule, Wish, choose
from mirror.core.variants.originals import Originals
from mirror.core.variants.publish import Publisher
from mirror.core.variants.quiet import Pace, Quiet, anyway
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.manifest import Manifest
from mirror.oci.names import Digest, Reference, Repository

_log = structlog.get_logger(__name__)

_NOT_WANTED = "no variant is wanted of it any more"
_REFUSALS = (BadLayerError, ContentMissingError, RecompressionError, RegistryError)
_LATER = 60.0
_CLEAR_EVERY = 1.0


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


class Converter:
    """The use cases of variants: behind every `convert` task, and of `registry-mirror convert`. One at a time."""

    def __init__(  # noqa: PLR0913 - its collaborators, each by name
        self,
        *,
        images: Images,
        originals: Originals,
        blobs: BlobPush,
        layers: LayerConverter,
        publisher: Publisher,
        capacity: Capacity,
        board: Board,
        clock: Clock,
        quiet: Quiet,
        rules: Sequence[VariantRule],
    ) -> None:
        self._images = images
        self._originals = originals
        self._blobs = blobs
        self._layers = layers
        self._publisher = publisher
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
                manifest = await self._originals.load(job.digest, job.media_type)
                errand = Errand(job.repository, job.reference, manifest, wish, progress, job.id)
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
        manifest = await self._originals.find(repository, digest) if digest else None
        if manifest is None:
            raise RegistryError(Problem.MANIFEST_UNKNOWN, repository.image(reference))
        self._people += 1
        try:
            return await self._convert(Errand(repository, reference, manifest, wish, progress, job=None))
        finally:
            self._people -= 1

    async def _convert(self, errand: Errand) -> Made:
        async with self._alone:
            await self._blobs.drop_made()  # what could not be dropped when it failed, as containerd was away
            try:
                return await self._make(errand)
            except BaseException as error:
                if not _is_gone_on_with(errand, error):
                    await asyncio.shield(self._layers.give_up(errand.repository))
                raise

    async def _make(self, errand: Errand) -> Made:
        wish, progress = errand.wish, errand.progress
        if not errand.may_have_one:
            raise UnwantedError(f"nothing to convert in it for the mode {wish.mode}")
        images = await self._originals.images(errand.repository, errand.manifest)
        gzips = {gzip.layer.digest: gzip for image in images for gzip in await self._originals.gzips(image.manifest)}
        if not gzips:
            raise UnwantedError("it has no layer of gzip")
        before = progress.of = sum(gzip.layer.size for gzip in gzips.values())
        progress.layers_of = len(gzips)
        await self._check_what_is_known(gzips, wish)
        disturbed = anyway if errand.is_for_a_person else self.quiet.disturbed
        check = partial(self._check, errand)
        pace = Pace(self._clock, disturbed, check, progress)
        made: dict[Digest, Recompressed] = {}
        for digest, gzip in gzips.items():
            await pace.turn()
            done = progress.done
            made[digest] = await self._layers.convert(errand.repository, gzip, wish.level, pace.keep)
            progress.done = done + gzip.layer.size
            progress.layers_done += 1
        _check_gain(before, made, wish)
        await pace.turn()
        image, digest = await self._publisher.publish(errand, images, made, check)
        result = Made(image, digest, before, sum(each.size for each in made.values()))
        _log.info("variant.made", variant=image, manifest=digest, before=before, after=result.after)
        return result

    async def _check_what_is_known(self, gzips: Mapping[Digest, Gzip], wish: Wish) -> None:
        """What was converted before need not be converted to see that it does not pay."""
        known = {digest: await self._layers.known(gzip, wish.level) for digest, gzip in gzips.items()}
        made = {digest: found for digest, found in known.items() if found}
        if len(made) == len(gzips):
            _check_gain(sum(gzip.layer.size for gzip in gzips.values()), made, wish)

    async def _check(self, errand: Errand) -> None:
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


def _check_gain(before: int, made: Mapping[Digest, Recompressed], wish: Wish) -> None:
    """Raise UnwantedError if the layers together do not get smaller enough."""
    gain = 1 - sum(each.size for each in made.values()) / before
    if gain < wish.least:
        raise UnwantedError(f"{gain:.1%} smaller, and not {wish.least:.0%}")


def _is_gone_on_with(errand: Errand, error: BaseException) -> bool:
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
