"""Copying an acknowledged image to its upstream: blobs, then manifests from the leaves up, the tag last."""

from collections.abc import Mapping

import structlog

from mirror.core.concurrency import run_all
from mirror.core.errors import UpstreamError
from mirror.core.jobs import Job, Outcome, State, Task
from mirror.core.ports import Content, Grants, Jobs, Upstream
from mirror.core.pull import read_whole
from mirror.oci.manifest import MAX_MANIFEST, Descriptor, Manifest, parse_manifest
from mirror.oci.names import Digest, Repository

_log = structlog.get_logger(__name__)


class Replicator:
    """The use case behind every `replicate` task.

    It keeps no notes on the way: each attempt asks the upstream what it has and sends what is missing, so that an
    attempt after a crash is an attempt like any other.
    """

    def __init__(
        self, *, content: Content, grants: Grants, jobs: Jobs, upstreams: Mapping[str, Upstream], at_once: int
    ) -> None:
        self._content = content
        self._grants = grants
        self._jobs = jobs
        self._upstreams = upstreams
        self._at_once = at_once

    async def attempt(self, task: Task) -> Outcome:
        """Bring one job upstream and see it there.

        Raises:
            UpstreamError, StoreUnavailableError: it did not get there this time.
            ContentMissingError: its content is gone from here and not upstream either.
        """
        job = task.job
        upstream = find_upstream(self._upstreams, job)
        manifests = await self._family(job.repository, await self._load(job.digest, job.media_type))
        blobs = await self._blobs(job.repository, manifests)
        await run_all((self._send_blob(upstream, job.repository, blob) for blob in blobs), self._at_once)
        for manifest in manifests:
            await self._send_manifest(upstream, job.repository, manifest)
        return await self._send_tag(upstream, job, manifests[-1])

    async def _load(self, digest: Digest, media_type: str) -> Manifest:
        return parse_manifest(await read_whole(self._content, digest, MAX_MANIFEST), media_type)

    async def _family(self, repository: Repository, root: Manifest) -> list[Manifest]:
        """A manifest and all below it that are here, children before parents, each once."""
        family: dict[str, Manifest] = {}
        given = await self._grants.given(repository, [child.digest for child in root.manifests])
        for digest, media_type in given.items():
            if media_type is not None and await self._content.size(digest) is not None:
                below = await self._family(repository, await self._load(digest, media_type))
                family |= {manifest.digest: manifest for manifest in below}
        family[root.digest] = root
        return list(family.values())

    async def _blobs(self, repository: Repository, manifests: list[Manifest]) -> list[Descriptor]:
        """What the manifests name and is no manifest itself, each once: a build cache lists blobs in an index.

        An index may name anything, so of its entries only those go upstream that the repository was given.
        """
        blobs = {blob.digest: blob for manifest in manifests for blob in manifest.blobs}
        entries = {child.digest: child for manifest in manifests for child in manifest.manifests}
        loose = entries.keys() - blobs.keys() - {manifest.digest for manifest in manifests}
        for digest in await self._grants.given(repository, list(loose)):
            if await self._content.size(digest) is not None:
                blobs[digest] = entries[digest]
        return list(blobs.values())

    async def _send_blob(self, upstream: Upstream, repository: Repository, blob: Descriptor) -> None:
        if await upstream.has_blob(repository, blob):
            _log.info("blob.found", blob=blob.digest)
            return
        if blob.is_foreign and await self._content.size(blob.digest) is None:
            return
        await upstream.upload_blob(repository, blob, self._content.read(blob.digest))
        if not await upstream.has_blob(repository, blob):
            raise UpstreamError(f"accepted {blob.digest} but does not have it", transient=True)
        _log.info("blob.sent", blob=blob.digest, size=blob.size)

    async def _send_manifest(self, upstream: Upstream, repository: Repository, manifest: Manifest) -> None:
        """Put a manifest by digest, and believe that it is there only when the same bytes come back."""
        ask = (repository, manifest.digest, manifest.media_type)
        if await upstream.get_manifest(*ask) == manifest.raw:
            _log.info("manifest.found", manifest=manifest.digest)
            return
        await upstream.put_manifest(*ask, manifest.raw)
        if await upstream.get_manifest(*ask) != manifest.raw:
            raise UpstreamError(f"accepted manifest {manifest.digest} but does not have it", transient=True)
        _log.info("manifest.sent", manifest=manifest.digest)

    async def _send_tag(self, upstream: Upstream, job: Job, manifest: Manifest) -> Outcome:
        """Move the upstream's tag, unless a later push of it exists: that one will, or already did."""
        if job.reference.tag is None:
            return Outcome(State.DONE)
        if await self._jobs.superseded(job):
            return Outcome(State.DONE, "by digest only: the tag has moved on")
        await upstream.put_manifest(job.repository, job.reference.tag, manifest.media_type, manifest.raw)
        _log.info("tag.sent", tag=job.reference.tag)
        return Outcome(State.DONE)


def find_upstream(upstreams: Mapping[str, Upstream], job: Job) -> Upstream:
    """The upstream of a job. Raises UpstreamError when its registry was taken out of the settings."""
    registry = job.repository.registry
    if registry not in upstreams:
        raise UpstreamError(f"registry {registry} is not configured any more", transient=False)
    return upstreams[registry]
