"""Content that vanished from containerd while a job needs it, or is damaged there: brought back from the upstream."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import structlog

from mirror.core.concurrency import Locks
from mirror.core.errors import ContentMissingError, DigestMismatchError, UpstreamError
from mirror.core.jobs import Job, Outcome, Task
from mirror.core.leases import let_go
from mirror.core.ports import Content, Grants, Ingest, Leases, Replacement, Upstream
from mirror.core.worker import Attempt
from mirror.oci.manifest import parse_manifest
from mirror.oci.names import Digest, Repository, digest_of

_log = structlog.get_logger(__name__)
_REPAIRED_WITHIN = 86400.0

RESTORES = "registry-mirror/restore/"
"""What the ingests begin with that content comes back into."""


class Restorer:
    """Wraps the attempts at tasks: what they miss is fetched, and they are made again."""

    def __init__(
        self,
        *,
        content: Content,
        leases: Leases,
        grants: Grants,
        upstreams: Mapping[str, Upstream],
        replacement: Replacement,
        new_id: Callable[[], str],
    ) -> None:
        self._content = content
        self._leases = leases
        self._grants = grants
        self._upstreams = upstreams
        self._replacement = replacement
        self._new_id = new_id
        self._locks = Locks()
        self._in_flight: set[str] = set()

    def in_flight(self) -> frozenset[str]:
        """The ingests that content is coming back into just now."""
        return frozenset(self._in_flight)

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

    async def repair(self, repository: Repository, digest: Digest) -> None:
        """Put the upstream's copy in the place of content that is damaged here.

        Raises:
            ContentMissingError: the upstream does not have it.
            UpstreamError, StoreUnavailableError: it cannot be had now.
        """
        if repository.registry not in self._upstreams:
            raise ContentMissingError(digest)
        media_type = (await self._grants.given(repository, [digest])).get(digest)
        lease = f"registry-mirror/repair/{self._new_id()}"
        async with self._locks.alone(digest):
            await self._leases.create(lease, seconds=_REPAIRED_WITHIN)
            try:
                await self._replacement.replace(digest, self._fetch(repository, digest, media_type), lease)
            except DigestMismatchError as error:
                raise _other_bytes(digest) from error
            finally:
                await let_go(self._leases, lease)
        _log.warning("content.repaired", repaired=digest)

    async def _fetch(self, repository: Repository, digest: Digest, media_type: str | None) -> AsyncIterator[bytes]:
        """What the upstream has under this digest: of a manifest its media type is known. Raises as `repair`."""
        upstream = self._upstreams[repository.registry]
        if media_type is None:
            async with upstream.open_blob(repository, digest) as incoming:
                async for data in incoming.data:
                    yield data
            return
        raw = await upstream.get_manifest(repository, digest, media_type)
        if raw is None:
            raise ContentMissingError(digest)
        yield raw

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
        raw = b"".join([data async for data in self._fetch(job.repository, digest, media_type)])
        if digest_of(raw) != digest:
            raise _other_bytes(digest)
        edges = {place: child.digest for place, child in parse_manifest(raw, media_type).edges().items()}
        given = await self._grants.given(job.repository, list(edges.values()))  # it may have to come back, too
        held = {place: child for place, child in edges.items() if child in given}
        await self._content.put(raw, digest, job.lease, held)

    async def _restore_blob(self, job: Job, digest: Digest) -> None:
        async with self._ingest(job.lease) as ingest:
            async for data in self._fetch(job.repository, digest, None):
                await ingest.write(data)
            try:
                await ingest.commit(digest)
            except DigestMismatchError as error:
                raise _other_bytes(digest) from error

    @asynccontextmanager
    async def _ingest(self, lease: str) -> AsyncIterator[Ingest]:
        """An ingest that is gone when the body fails; one that a crash left behind is the reconciler's."""
        ref = RESTORES + self._new_id()
        self._in_flight.add(ref)
        try:
            ingest = await self._content.ingest(ref, lease)
            try:
                yield ingest
            except BaseException:  # a cancelled restore too: it would begin another ingest
                await ingest.close()
                await self._content.abort(ref)
                raise
        finally:
            self._in_flight.discard(ref)


def _other_bytes(digest: Digest) -> UpstreamError:
    return UpstreamError(f"the upstream serves other bytes for {digest}", transient=False)
