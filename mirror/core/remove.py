"""Deleting: a repository gives up a tag, a manifest or a blob, here and only here.

What was acknowledged still reaches the upstream: a job holds its content by a lease of its own until it is there.
"""

from contextlib import suppress

import structlog

from mirror.core.errors import StoreUnavailableError
from mirror.core.ports import Content, Grants, Images, Leases
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.names import Digest, Reference, Repository

_log = structlog.get_logger(__name__)


class Removal:
    """The use cases of content management. The bytes themselves are containerd's to collect."""

    def __init__(self, *, content: Content, images: Images, leases: Leases, grants: Grants) -> None:
        self._content = content
        self._images = images
        self._leases = leases
        self._grants = grants

    async def manifest(self, repository: Repository, reference: Reference) -> None:
        """Delete a tag, or a manifest with every tag that points to it.

        Raises:
            RegistryError: MANIFEST_UNKNOWN.
        """
        names = await self._names(repository, reference)
        if reference.digest is not None:
            if await self._grants.media_type(repository, reference.digest) is None:
                raise RegistryError(Problem.MANIFEST_UNKNOWN, str(reference))
            await self._revoke(repository, reference.digest)
        elif not names:
            raise RegistryError(Problem.MANIFEST_UNKNOWN, str(reference))
        for name in names:
            await self._images.delete(name)
            _log.info("image.deleted", image=name)

    async def blob(self, repository: Repository, digest: Digest) -> None:
        """Delete a blob. Raises RegistryError: BLOB_UNKNOWN."""
        if not await self._grants.granted(repository, [digest]) or await self._content.size(digest) is None:
            raise RegistryError(Problem.BLOB_UNKNOWN, digest)
        await self._revoke(repository, digest)

    async def _names(self, repository: Repository, reference: Reference) -> list[str]:
        """The image records that a reference stands for: one for a tag, all that point there for a digest."""
        if reference.digest is None:
            image = await self._images.get(repository.image(reference))
            granted = image and await self._grants.granted(repository, [image.target.digest])
            return [image.name] if image and granted else []
        tags = await self._images.list(f"{repository}:")
        return [
            repository.image(reference),
            *(image.name for image in tags if image.target.digest == reference.digest),
        ]

    async def _revoke(self, repository: Repository, digest: Digest) -> None:
        lease = await self._grants.revoke(repository, digest)
        if lease:
            with suppress(StoreUnavailableError):  # it runs out by itself
                await self._leases.delete(lease)
