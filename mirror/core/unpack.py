"""Making a pushed image runnable: each layer becomes a snapshot on top of the one below it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog

from mirror.core.concurrency import Locks
from mirror.core.jobs import Job, Kind, Outcome, State, Task
from mirror.core.layers import extractions
from mirror.core.ports import Content, Extraction, Grants, Snapshots, Tracer, Untraced
from mirror.core.progress import Board, Progress
from mirror.core.pull import read_whole
from mirror.core.trace import BLOB, RESULT, SIZE
from mirror.oci.manifest import (
    MAX_MANIFEST,
    Descriptor,
    ImageConfig,
    Manifest,
    Platform,
    parse_config,
    parse_manifest,
)
from mirror.oci.names import Repository
from mirror.oci.platforms import preference

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Image:
    """An image that could be unpacked: its parts, and the machine that it is for."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    diff_ids: list[str]
    platform: Platform


class Unpacker:
    """The use case behind every `unpack` task, for the machines that `platforms` names.

    The job's lease keeps the snapshots alive until the image config refers to the topmost one.
    """

    def __init__(
        self,
        *,
        content: Content,
        grants: Grants,
        snapshots: Snapshots,
        platforms: Sequence[Platform],
        board: Board,
        tracer: Tracer | None = None,
    ) -> None:
        self._content = content
        self._grants = grants
        self._snapshots = snapshots
        self._platforms = platforms
        self._board = board
        self._tracer = tracer or Untraced()
        self._locks = Locks()

    async def attempt(self, task: Task) -> Outcome:
        """Unpack the image of a job; of an index, for each platform the one image that suits it best.

        Raises:
            BadLayerError, ContentMissingError, RegistryError: it will never be runnable.
            StoreUnavailableError: it may be, later.
        """
        raw = await read_whole(self._content, task.job.digest, MAX_MANIFEST)
        manifest = parse_manifest(raw, task.job.media_type)
        images = await self._images(task.job.repository, manifest)
        # An image without a tag is most likely part of an index to come, which may have a better one.
        exact = manifest.is_runnable and task.job.reference.tag is None
        best = (_best(images, platform, exact=exact) for platform in self._platforms)
        chosen = {image.config.digest: image for image in best if image}
        if not chosen:
            return Outcome(State.SKIPPED, f"nothing here for {', '.join(map(str, self._platforms))}")
        with self._board.entry(task.job.id, Kind.UNPACK) as progress:
            await self._unpack(chosen.values(), task.job, progress)
        return Outcome(State.DONE)

    async def _images(self, repository: Repository, manifest: Manifest, said: Platform | None = None) -> list[_Image]:
        """The images in a manifest: itself, or those of an index that were pushed here and may suit.

        What an index has `said` of an image counts, not the image's own config: containerd goes by it too.
        """
        if manifest.is_runnable and manifest.config:
            config = await self._config(manifest.config)
            return [_Image(manifest.config, manifest.layers, config.rootfs.diff_ids, said or config.platform)]
        found: list[_Image] = []
        for child in manifest.manifests:
            if child.platform and not self._suits(child.platform):
                continue
            media_type = await self._grants.media_type(repository, child.digest)
            if media_type is not None:
                raw = await read_whole(self._content, child.digest, MAX_MANIFEST)
                found += await self._images(repository, parse_manifest(raw, media_type), child.platform or said)
        return found

    async def _config(self, descriptor: Descriptor) -> ImageConfig:
        return parse_config(await read_whole(self._content, descriptor.digest, MAX_MANIFEST))

    def _suits(self, image: Platform) -> bool:
        return any(preference(image, platform) is not None for platform in self._platforms)

    async def _unpack(self, images: Iterable[_Image], job: Job, progress: Progress) -> None:
        """Unpack images under the job's lease, one after the other."""
        plans = [(image.config, extractions(image.layers, image.diff_ids)) for image in images]
        layers = [step.layer for _, steps in plans for step in steps]
        progress.layers_of, progress.of = len(layers), sum(layer.size for layer in layers)
        for config, steps in plans:
            for step in steps:
                with self._tracer.span("layer.unpack", {BLOB: step.layer.digest, SIZE: step.layer.size}) as span:
                    span.note({RESULT: await self._ensure(step, job.lease)})
                progress.layers_done += 1
                progress.done += step.layer.size
            if steps:
                await self._snapshots.attach(config.digest, steps[-1].chain_id)

    async def _ensure(self, step: Extraction, lease: str) -> str:
        """See a layer unpacked; says whether it was `found` so or had to be `unpacked`."""
        async with self._locks.alone(step.chain_id):  # images that share a layer wait for it
            if await self._snapshots.hold(lease, step):
                _log.info("layer.found", layer=step.layer.digest, chain_id=step.chain_id)
                return "found"
            await self._snapshots.extract(step, lease)
            _log.info("layer.unpacked", layer=step.layer.digest, chain_id=step.chain_id)
            return "unpacked"


def _best(images: Iterable[_Image], platform: Platform, *, exact: bool) -> _Image | None:
    """The one that containerd would start on a platform: of several that suit it as well, the first.

    With `exact` only one that is for this very platform will do.
    """
    ranks = ((preference(image.platform, platform), image) for image in images)
    fitting = [(rank, image) for rank, image in ranks if rank == 0 or (rank is not None and not exact)]
    return min(fitting, key=lambda choice: choice[0])[1] if fitting else None
