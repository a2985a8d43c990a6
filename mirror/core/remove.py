"""Deleting: a repository gives up a tag, a manifest or a blob, here and, where the settings say so, upstream.

What was acknowledged still reaches the upstream: a job holds its content by a lease of its own until it is there, and
a delete upstream waits for it. Blobs are the upstream's own to collect.
"""

import structlog

from mirror.core.concurrency import SharedLock
from mirror.core.jobs import NewDelete
from mirror.core.leases import let_go
from mirror.core.ports import Clock, Content, Grants, Image, Images, Jobs, Leases
from mirror.core.signal import Signal
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.names import Digest, Reference, Repository

_log = structlog.get_logger(__name__)


class Removal:
    """The use cases of content management. The bytes themselves are containerd's to collect.

    `followed` names the registries whose upstream follows our deletes. A manifest goes while nobody else has `pushes`,
    the lock that acknowledgements share: one of the same manifest comes before all of its delete, or after all of it.
    """

    def __init__(  # noqa: PLR0913 - its collaborators, each by name
        self,
        *,
        content: Content,
        images: Images,
        leases: Leases,
        grants: Grants,
        jobs: Jobs,
        clock: Clock,
        changed: Signal,
        followed: frozenset[str],
        pushes: SharedLock,
    ) -> None:
        self._content = content
        self._images = images
        self._leases = leases
        self._grants = grants
        self._jobs = jobs
        self._clock = clock
        self._changed = changed
        self._followed = followed
        self._pushes = pushes

    async def manifest(self, repository: Repository, reference: Reference) -> None:
        """Delete a tag, or a manifest with every tag that points to it.

        Raises:
            RegistryError: MANIFEST_UNKNOWN.
        """
        async with self._pushes.alone():
            await self._manifest(repository, reference)
        self._changed.fire()

    async def _manifest(self, repository: Repository, reference: Reference) -> None:
        """The records go first: as long as the grant is there, a delete that broke off half-way can be repeated."""
        images = await self._pointing(repository, reference)
        digest = reference.digest or (images[0].target.digest if images else None)
        media_type = digest and await self._grants.media_type(repository, digest)
        if not digest or not media_type:
            raise RegistryError(Problem.MANIFEST_UNKNOWN, str(reference))
        if repository.registry in self._followed:
            await self._jobs.enqueue_delete(NewDelete(repository, reference, digest, media_type, self._clock.now()))
        for image in images:
            await self._images.delete(image.name)
        if reference.digest is not None:
            await self._revoke(repository, digest)
        _log.info("manifest.deleted", repository=str(repository), reference=str(reference), digest=digest)

    async def blob(self, repository: Repository, digest: Digest) -> None:
        """Delete a blob. Raises RegistryError: BLOB_UNKNOWN."""
        if not await self._grants.granted(repository, [digest]) or await self._content.size(digest) is None:
            raise RegistryError(Problem.BLOB_UNKNOWN, digest)
        await self._revoke(repository, digest)

    async def _pointing(self, repository: Repository, reference: Reference) -> list[Image]:
        """The image records that go with a reference: the tag's own, or all of those that point to a digest."""
        named = await self._images.get(repository.image(reference))
        tags = await self._images.list(f"{repository}:") if reference.digest else []
        return [*([named] if named else []), *(tag for tag in tags if tag.target.digest == reference.digest)]

    async def _revoke(self, repository: Repository, digest: Digest) -> None:
        await let_go(self._leases, await self._grants.revoke(repository, digest))
