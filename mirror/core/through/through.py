"""Pulling: what is here, and else what the upstream has, which is sent on while it comes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import structlog

from mirror.core.errors import ContentMissingError, UpstreamError
from mirror.core.ports import Clock, Grants, Upstream
from mirror.core.pull import Origin, Pull, Stored
from mirror.core.through.adopt import Adopter
from mirror.core.through.borrow import Borrower
from mirror.core.through.fetch import Fetcher
from mirror.core.through.keep import Keeper
from mirror.core.through.manifests import ManifestFetcher
from mirror.core.through.tags import Tags
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.names import Digest, Reference, Repository

_log = structlog.get_logger(__name__)
_BLOB = "application/octet-stream"

# From the first question of a push for a blob until its last one for a manifest.
_A_PUSH = 600.0


@dataclass(frozen=True, slots=True)
class Way:
    """An upstream that is pulled through; what a tag means there counts for `tags` seconds."""

    upstream: Upstream
    tags: float


class Through:
    """The use cases of reading, for all registries: what is not here is fetched where there is a way.

    Builders, too, ask by HEAD what is here, and do not push what is. So a HEAD for a blob is about this host alone,
    unless the upstream lends it; and so is one for a manifest, for some minutes after somebody asked for a blob of its
    repository: he is pushing.
    """

    def __init__(  # noqa: PLR0913 - its collaborators, each by name
        self,
        pull: Pull,
        ways: Mapping[str, Way],
        *,
        grants: Grants,
        fetcher: Fetcher,
        manifests: ManifestFetcher,
        tags: Tags,
        keeper: Keeper,
        borrower: Borrower,
        adopter: Adopter | None,
        clock: Clock,
    ) -> None:
        self.here = pull
        self._ways = ways
        self._grants = grants
        self._fetcher = fetcher
        self._manifests = manifests
        self._tags = tags
        self._keeper = keeper
        self._borrower = borrower
        self.adopter = adopter
        self._clock = clock
        self._pushing: dict[Repository, float] = {}

    @asynccontextmanager
    async def blob(self, repository: Repository, digest: Digest, *, hold: bool = False) -> AsyncIterator[Stored]:
        """Find a blob, here or upstream; with `hold` only look for it.

        Raises:
            RegistryError: BLOB_UNKNOWN, NO_ROOM.
            UpstreamError, StoreUnavailableError: it cannot be had now.
        """
        try:
            stored = await self._blob_here(repository, digest, hold=hold)
            if stored:
                yield stored
                return
            async with self._fetcher.following(repository, digest) as fetch:
                if not fetch.size:
                    await fetch.ended()  # there is no byte to wait for
                yield Stored(digest, _BLOB, fetch.size, Origin.MISS, fetch)
        except ContentMissingError as error:
            raise RegistryError(Problem.BLOB_UNKNOWN, digest) from error
        except UpstreamError as error:
            if error.is_refusal:
                raise _refused(error, Problem.BLOB_UNKNOWN, digest) from error
            raise

    async def _blob_here(self, repository: Repository, digest: Digest, *, hold: bool) -> Stored | None:
        """What is here, or will be; None where it is to be fetched."""
        if hold:
            self._note_push(repository)
        try:
            return await self.here.blob(repository, digest, hold=hold)
        except RegistryError:
            if repository.registry not in self._ways:
                raise
            if hold:
                size = await self._borrower.borrow(repository, digest, repository)
                if size is None:
                    raise
                return Stored(digest, _BLOB, size, Origin.MISS)
        if self.adopter and await self.adopter.adopt(repository, digest):
            return await self.here.blob(repository, digest)
        return None

    async def manifest(self, repository: Repository, reference: Reference, *, hold: bool = False) -> Stored:
        """Find a manifest, here or upstream; with `hold` only look for it.

        Raises:
            RegistryError: MANIFEST_UNKNOWN, NO_ROOM.
            UpstreamError, StoreUnavailableError: it cannot be had now.
        """
        way = self._ways.get(repository.registry)
        if way is None or (hold and self._is_pushed_to(repository)):
            return await self.here.manifest(repository, reference, hold=hold)
        try:
            return await self._manifest(repository, reference, way, hold=hold)
        except UpstreamError as error:
            # A builder gives up when a HEAD fails, and pushes when there is nothing.
            if hold or error.is_refusal:
                raise _refused(error, Problem.MANIFEST_UNKNOWN, str(reference)) from error
            raise

    async def _manifest(self, repository: Repository, reference: Reference, way: Way, *, hold: bool) -> Stored:
        if reference.digest:
            return await self._by_digest(repository, reference.digest, hold=hold)
        named = await self._tags.resolve(repository, reference, way.upstream, way.tags)
        if hold and named.found and not await self._is_here(repository, named.digest):
            return Stored(named.digest, named.found.media_type, named.found.size, Origin.MISS)
        stored = await self._by_digest(repository, named.digest, hold=hold)
        return replace(stored, origin=named.origin) if named.origin is Origin.STALE else stored

    async def _by_digest(self, repository: Repository, digest: Digest, *, hold: bool) -> Stored:
        reference = Reference(None, digest)
        try:
            stored = await self.here.manifest(repository, reference, hold=hold)
        except RegistryError:
            manifest = await self._manifests.fetch(repository, digest)
            stored = replace(await self.here.manifest(repository, reference, hold=hold), origin=Origin.MISS)
            if manifest:
                self._keeper.note(repository, manifest)
            return stored
        if not hold:
            await self._note_again(repository, stored)
        return stored

    async def _note_again(self, repository: Repository, stored: Stored) -> None:
        """Go on waiting for what a manifest names that was pulled by an earlier process."""
        digest = stored.digest
        if not self._keeper.waits_for(repository, digest) and await self._grants.is_loose(repository, digest):
            self._keeper.note(repository, await self._manifests.read(digest, stored.media_type))

    async def _is_here(self, repository: Repository, digest: Digest) -> bool:
        return await self._grants.media_type(repository, digest) is not None

    def _note_push(self, repository: Repository) -> None:
        if repository.registry in self._ways:
            now = self._clock.monotonic()
            self._pushing = {where: at for where, at in self._pushing.items() if now - at < _A_PUSH}
            self._pushing[repository] = now

    def _is_pushed_to(self, repository: Repository) -> bool:
        at = self._pushing.get(repository)
        return at is not None and self._clock.monotonic() - at < _A_PUSH


def _refused(error: UpstreamError, problem: Problem, detail: str) -> RegistryError:
    _log.warning("pull.refused", reason=str(error))
    return RegistryError(problem, detail)
