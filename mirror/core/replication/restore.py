"""Content that vanished from containerd while a job still needs it: brought back from the upstream, if it is there."""

from collections.abc import Callable, Mapping

import structlog

from mirror.core.concurrency import Locks
from mirror.core.errors import ContentMissingError, DigestMismatchError, UpstreamError
from mirror.core.jobs import Job, Outcome, Task
from mirror.core.ports import Content, Grants, Leases, Upstream
from mirror.core.worker import Attempt
from mirror.oci.manifest import parse_manifest
from mirror.oci.names import Digest, digest_of

_log = structlog.get_logger(__name__)


class Restorer:
    """Wraps the attempts at tasks: what they miss is fetched, and they are made again."""

    def __init__(
        self,
        *,
        content: Content,
        leases: Leases,
        grants: Grants,
        upstreams: Mapping[str, Upstream],
        new_id: Callable[[], str],
    ) -> None:
        self._content = content
        self._leases = leases
        self._grants = grants
        self._upstreams = upstreams
        self._new_id = new_id
        self._locks = Locks()

    def around(self, attempt: Attempt) -> Attempt:
        """The same attempt, that goes on when content is missing which the upstream has."""

        async def patient(task: Task) -> Outcome:
            restored: set[str] = set()
            while True:
                try:
                    return await attempt(task)
                except ContentMissingError as missing:
                    digest = Digest(str(missing))
                    if digest in restored or task.job.repository.registry not in self._upstreams:
                        raise
                    await self._restore(task.job, digest)
                    restored.add(digest)

        return patient

    async def _restore(self, job: Job, digest: Digest) -> None:
        """Fetch content under the lease of a job.

        Raises:
            ContentMissingError: the upstream does not have it either.
            UpstreamError, StoreUnavailableError: it cannot be had now.
        """
        async with self._locks.alone(digest):
            await self._leases.create(job.lease)
            await self._leases.hold(job.lease, digest)
            if await self._content.size(digest) is not None:
                return
            _log.warning("content.vanished", missing=digest)
            media_type = (await self._grants.given(job.repository, [digest])).get(digest)
            if media_type is None:
                await self._restore_blob(job, digest)
            else:
                await self._restore_manifest(job, digest, media_type)
            _log.warning("content.restored", restored=digest)

    async def _restore_manifest(self, job: Job, digest: Digest, media_type: str) -> None:
        raw = await self._upstreams[job.repository.registry].get_manifest(job.repository, digest, media_type)
        if raw is None:
            raise ContentMissingError(digest)
        if digest_of(raw) != digest:
            raise _other_bytes(digest)
        edges = {place: child.digest for place, child in parse_manifest(raw, media_type).edges().items()}
        present = {place: child for place, child in edges.items() if await self._content.size(child) is not None}
        await self._content.put(raw, digest, job.lease, present)

    async def _restore_blob(self, job: Job, digest: Digest) -> None:
        ref = f"registry-mirror/restore/{self._new_id()}"  # one that a crash left behind ends with the lease
        ingest = await self._content.ingest(ref, job.lease)
        try:
            async for data in self._upstreams[job.repository.registry].read_blob(job.repository, digest):
                await ingest.write(data)
            await ingest.commit(digest)
        except BaseException as error:
            await ingest.close()
            await self._content.abort(ref)
            if isinstance(error, DigestMismatchError):
                raise _other_bytes(digest) from error
            raise


def _other_bytes(digest: Digest) -> UpstreamError:
    return UpstreamError(f"the upstream serves other bytes for {digest}", transient=False)
