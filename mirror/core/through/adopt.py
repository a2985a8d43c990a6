"""Blobs that the host has already, for repositories that they belong to upstream: no byte of them is fetched again."""

from collections.abc import Callable, Mapping

from mirror.core.leases import let_go
from mirror.core.ports import NO_CLAIM, Claim, Content, Grants, Leases, Upstream
from mirror.core.through.fetch import LASTS, PULLS
from mirror.oci.manifest import Descriptor
from mirror.oci.names import Digest, Repository


class Adopter:
    """Grants what is here.

    Not where tenants share the host: by the time that it takes, somebody would learn what others have.
    """

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

    async def adopt(self, repository: Repository, digest: Digest) -> bool:
        """Grant a blob that is here if the upstream has it in this repository; whether it did.

        Raises:
            UpstreamError, StoreUnavailableError, JournalUnavailableError.
        """
        size = await self._content.size(digest)
        if size is None:
            return False
        blob = Descriptor(digest=digest, size=size)
        return await self._upstreams[repository.registry].has_blob(repository, blob) and await self.grant(
            repository, digest
        )

    async def grant(self, repository: Repository, digest: Digest, claim: Claim = NO_CLAIM) -> bool:
        """Grant a blob that is here; leased first and looked for then, as it may be collected in between.

        Raises:
            StoreUnavailableError, JournalUnavailableError, TenantFullError.
        """
        lease = PULLS + self._new_id()
        unneeded: str | None = lease
        await self._leases.create(lease, seconds=LASTS)
        try:
            await self._leases.hold(lease, digest)
            if await self._content.size(digest) is None:
                return False
            unneeded = await self._grants.grant(repository, digest, lease, claim)
        finally:
            await let_go(self._leases, unneeded)
        return True
