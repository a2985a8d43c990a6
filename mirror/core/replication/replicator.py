"""Copying an acknowledged image to its upstream: blobs, then manifests from the leaves up, the tag last."""

from collections.abc import Mapping

import structlog

from mirror.core.concurrency import first_of, run_all
from mirror.core.errors import ContentMissingError, UpstreamError
from mirror.core.jobs import Job, Kind, Outcome, State, Task
from mirror.core.ports import Clock, Content, Grants, Jobs, Tracer, Untraced, Upstream
from mirror.core.progress import Board, Progress
from mirror.core.pull import read_whole
from mirror.core.replication.carrier import Carrier
from mirror.core.replication.fallback import FallbackTags
from mirror.core.replication.putting import put_manifest
from mirror.core.replication.turns import Wish
from mirror.core.trace import IMAGE, MANIFEST, RESULT
from mirror.oci.manifest import MAX_MANIFEST, Descriptor, Manifest, parse_manifest
from mirror.oci.names import Digest, Repository

_log = structlog.get_logger(__name__)


_ASK_AT_ONCE = 16
"""How many blobs of one job are asked for, or wait for their turn, together."""

_LOOK_EVERY = 1.0
_MOVED_ON = "the tag has moved on"


class Replicator:
    """The use case behind every `replicate` task.

    Each attempt asks the upstream what it has and brings what is missing, so that an attempt after a crash is an
    attempt like any other.
    """

    def __init__(  # noqa: PLR0913 - its collaborators, each by name
        self,
        *,
        content: Content,
        grants: Grants,
        jobs: Jobs,
        upstreams: Mapping[str, Upstream],
        carriers: Mapping[str, Carrier],
        fallback: FallbackTags,
        board: Board,
        clock: Clock,
        tracer: Tracer | None = None,
    ) -> None:
        self._content = content
        self._grants = grants
        self._jobs = jobs
        self._upstreams = upstreams
        self._carriers = carriers
        self._fallback = fallback
        self._board = board
        self._clock = clock
        self._tracer = tracer or Untraced()

    async def attempt(self, task: Task) -> Outcome:
        """Bring one job upstream and see it there.

        Raises:
            UpstreamError, StoreUnavailableError: it did not get there this time.
            ContentMissingError: some of it is gone from here.
        """
        if not task.gives_way or task.job.reference.tag is None:
            return await self._replicate(task)
        # It may be on its way for long, and what comes next under its tag must not wait for that.
        return await first_of(self._replicate(task), self._moved(task.job))

    async def _moved(self, job: Job) -> Outcome:
        """Wait until a tag was pushed again, or deleted."""
        while not await self._jobs.superseded(job):
            await self._clock.sleep(_LOOK_EVERY)
        return Outcome(State.CANCELLED, _MOVED_ON)

    async def _replicate(self, task: Task) -> Outcome:
        job = task.job
        upstream = find_upstream(self._upstreams, job)
        manifests = await self._family(job.repository, await self._load(job.digest, job.media_type))
        with self._board.entry(job.id, Kind.REPLICATE) as progress:
            await self._bring(task, await self._blobs(job.repository, manifests), progress)
        for manifest in manifests:
            with self._tracer.span("manifest.replicate", {MANIFEST: manifest.digest}) as span:
                span.note({RESULT: await self._send_manifest(upstream, job.repository, manifest)})
        return await self._send_tag(upstream, job, manifests[-1])

    async def _load(self, digest: Digest, media_type: str) -> Manifest:
        return parse_manifest(await read_whole(self._content, digest, MAX_MANIFEST), media_type)

    async def _family(self, repository: Repository, root: Manifest) -> list[Manifest]:
        """A manifest and all below it that the repository was given, children before parents, each once.

        Raises:
            ContentMissingError: one is gone that was not deleted here.
        """
        family: dict[str, Manifest] = {}
        children = [child.digest for child in root.manifests]
        held = await self._grants.granted(repository, children)
        for digest, media_type in (await self._grants.given(repository, children)).items():
            if media_type is not None and (digest in held or await self._content.size(digest) is not None):
                below = await self._family(repository, await self._load(digest, media_type))
                family |= {manifest.digest: manifest for manifest in below}
        family[root.digest] = root
        return list(family.values())

    async def _blobs(self, repository: Repository, manifests: list[Manifest]) -> list[Descriptor]:
        """What the manifests name and is no manifest itself, each once: a build cache lists blobs in an index.

        An index may name anything, so of its entries only those go upstream that the repository was given; and layers
        that live elsewhere need not be here.

        Raises:
            ContentMissingError: a blob is gone, be it upstream or not: whoever starts the image needs it here.
        """
        blobs = {blob.digest: blob for manifest in manifests for blob in manifest.blobs}
        entries = {child.digest: child for manifest in manifests for child in manifest.manifests}
        loose = entries.keys() - blobs.keys() - {manifest.digest for manifest in manifests}
        given = await self._grants.given(repository, list(loose))
        here: list[Descriptor] = []
        for blob in (*blobs.values(), *(entries[digest] for digest in given)):
            if await self._content.size(blob.digest) is not None:
                here.append(blob)
            elif not blob.is_foreign and blob.digest in blobs:
                raise ContentMissingError(blob.digest)
        return here

    async def _bring(self, task: Task, blobs: list[Descriptor], progress: Progress) -> None:
        """See every blob upstream: the small ones first, as they are over soon."""
        progress.of = sum(blob.size for blob in blobs)
        by_size = sorted(blobs, key=lambda blob: blob.size)
        await run_all((self._bring_one(task, blob, progress) for blob in by_size), _ASK_AT_ONCE)

    async def _bring_one(self, task: Task, blob: Descriptor, progress: Progress) -> None:
        job, seen = task.job, 0

        def reached(size: int) -> None:
            nonlocal seen
            progress.done += size - seen
            seen = size

        wish = Wish(job.repository, blob.size, job.created, task.gives_way)
        await self._carriers[job.repository.registry].bring(wish, blob, reached)

    async def _send_manifest(self, upstream: Upstream, repository: Repository, manifest: Manifest) -> str:
        """Put a manifest by digest, unless it is there already, and see it among the referrers of its subject."""
        is_there = await _is_there(upstream, repository, manifest)
        if is_there:
            _log.info("manifest.found", manifest=manifest.digest)
        else:
            await put_manifest(upstream, repository, manifest.digest, manifest.media_type, manifest.raw)
            _log.info("manifest.sent", manifest=manifest.digest)
        await self._fallback.add(upstream, repository, manifest)
        return "found" if is_there else "sent"

    async def _send_tag(self, upstream: Upstream, job: Job, manifest: Manifest) -> Outcome:
        """Move the upstream's tag, unless a later push of it exists: that one will, or already did."""
        if job.reference.tag is None:
            return Outcome(State.DONE)
        if await self._jobs.superseded(job):
            return Outcome(State.DONE, f"by digest only: {_MOVED_ON}")
        with self._tracer.span("tag.replicate", {IMAGE: job.image, MANIFEST: manifest.digest}):
            await put_manifest(upstream, job.repository, job.reference.tag, manifest.media_type, manifest.raw)
        _log.info("tag.sent", tag=job.reference.tag)
        return Outcome(State.DONE)


async def _is_there(upstream: Upstream, repository: Repository, manifest: Manifest) -> bool:
    """Ask for a manifest. A registry may fail at that until it is put again; it is small, so that is tried at once."""
    try:
        return await upstream.get_manifest(repository, manifest.digest, manifest.media_type) == manifest.raw
    except UpstreamError as error:
        if error.is_failing:
            return False
        raise


def find_upstream(upstreams: Mapping[str, Upstream], job: Job) -> Upstream:
    """The upstream of a job. Raises UpstreamError when its registry was taken out of the settings."""
    registry = job.repository.registry
    if registry not in upstreams:
        raise UpstreamError(f"registry {registry} is not configured any more", transient=False)
    return upstreams[registry]
