"""Making a pushed image runnable: each layer becomes a snapshot on top of the one below it."""

import structlog

from mirror.core.concurrency import Locks
from mirror.core.errors import BadLayerError
from mirror.core.jobs import Job, Outcome, State, Task
from mirror.core.ports import Content, Extraction, Grants, Snapshots
from mirror.core.pull import read_whole
from mirror.oci.manifest import (
    MAX_MANIFEST,
    Manifest,
    Platform,
    chain_ids,
    parse_config,
    parse_manifest,
)
from mirror.oci.names import Repository

_log = structlog.get_logger(__name__)


class Unpacker:
    """The use case behind every `unpack` task; `platform` is this machine's.

    The job's lease keeps the snapshots alive until the image config refers to the topmost one.
    """

    def __init__(self, *, content: Content, grants: Grants, snapshots: Snapshots, platform: Platform) -> None:
        self._content = content
        self._grants = grants
        self._snapshots = snapshots
        self._platform = platform
        self._locks = Locks()

    async def attempt(self, task: Task) -> Outcome:
        """Unpack the image of a job, or those images of an index that this machine can run.

        Raises:
            BadLayerError, ContentMissingError, RegistryError: it will never be runnable.
            StoreUnavailableError: it may be, later.
        """
        raw = await read_whole(self._content, task.job.digest, MAX_MANIFEST)
        images = await self._runnable(task.job.repository, parse_manifest(raw, task.job.media_type))
        done = [await self._unpack(image, task.job) for image in images]
        if not any(done):
            return Outcome(State.SKIPPED, f"nothing here for {self._platform.os}/{self._platform.architecture}")
        return Outcome(State.DONE)

    async def _runnable(self, repository: Repository, manifest: Manifest) -> list[Manifest]:
        """The images in a manifest: itself, or those of an index that were pushed here and say that they fit."""
        if manifest.is_runnable:
            return [manifest]
        found: list[Manifest] = []
        for child in manifest.manifests:
            media_type = await self._grants.media_type(repository, child.digest)
            fits = child.platform is None or self._fits(child.platform)
            if media_type is not None and fits:
                raw = await read_whole(self._content, child.digest, MAX_MANIFEST)
                found += await self._runnable(repository, parse_manifest(raw, media_type))
        return found

    def _fits(self, platform: Platform) -> bool:
        """Compare as far as both say something; amd64 variants above the baseline are the image author's risk."""
        wanted, here = platform, self._platform
        same = (wanted.os, wanted.architecture) == (here.os, here.architecture)
        return same and (not wanted.variant or not here.variant or wanted.variant == here.variant)

    async def _unpack(self, image: Manifest, job: Job) -> bool:
        """Unpack one image under the job's lease; False when it is for another machine."""
        if image.config is None:
            return False
        config = parse_config(await read_whole(self._content, image.config.digest, MAX_MANIFEST))
        if not self._fits(config.platform):
            return False
        diff_ids = config.rootfs.diff_ids
        if len(diff_ids) != len(image.layers):
            raise BadLayerError(f"{len(image.layers)} layers but {len(diff_ids)} diff IDs")
        parent = ""
        for layer, diff_id, chain_id in zip(image.layers, diff_ids, chain_ids(diff_ids), strict=True):
            step = Extraction(layer, diff_id=diff_id, chain_id=chain_id, parent=parent)
            await self._ensure(step, job.lease)
            parent = chain_id
        if parent:
            await self._snapshots.attach(image.config.digest, parent)
        return True

    async def _ensure(self, step: Extraction, lease: str) -> None:
        async with self._locks.alone(step.chain_id):  # images that share a layer wait for it
            if await self._snapshots.hold(lease, step.chain_id):
                _log.info("layer.found", layer=step.layer.digest, chain_id=step.chain_id)
                return
            await self._snapshots.extract(step, lease)
            _log.info("layer.unpacked", layer=step.layer.digest, chain_id=step.chain_id)
