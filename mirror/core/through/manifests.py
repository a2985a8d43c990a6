"""Manifests on their way here from an upstream: small, so each is read and compared before anybody gets it."""

from collections.abc import Callable, Mapping

from mirror.core.admission import Admission
from mirror.core.concurrency import Together
from mirror.core.errors import UpstreamError
from mirror.core.leases import let_go
from mirror.core.ports import Content, Grants, Leases, Upstream
from mirror.core.pull import read_whole
from mirror.core.through.fetch import LASTS, PULLS
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.manifest import MAX_MANIFEST, Manifest, parse_manifest
from mirror.oci.names import Digest, Repository, digest_of


class ManifestFetcher:
    """Fetches manifests by digest, each once however many ask."""

    def __init__(
        self,
        *,
        content: Content,
        leases: Leases,
        grants: Grants,
        upstreams: Mapping[str, Upstream],
        admission: Admission,
        new_id: Callable[[], str],
    ) -> None:
        self._content = content
        self._leases = leases
        self._grants = grants
        self._upstreams = upstreams
        self._admission = admission
        self._new_id = new_id
        self._fetches: Together[Manifest | None] = Together()

    async def fetch(self, repository: Repository, digest: Digest) -> Manifest | None:
        """Store a manifest and grant it; None if it has just come.

        Raises:
            RegistryError: MANIFEST_UNKNOWN, NO_ROOM.
            UpstreamError: it cannot be had, or is not what it should be.
            StoreUnavailableError, JournalUnavailableError.
        """
        return await self._fetches.do(f"{repository}@{digest}", lambda: self._fetch(repository, digest))

    async def _fetch(self, repository: Repository, digest: Digest) -> Manifest | None:
        if await self._is_here(repository, digest):
            return None
        manifest = await self._read(repository, digest)
        self._admission.check(len(manifest.raw))
        await self._store(repository, manifest)
        return manifest

    async def read(self, digest: Digest, media_type: str) -> Manifest:
        """A manifest that is here. Raises ContentMissingError, StoreUnavailableError."""
        return parse_manifest(await read_whole(self._content, digest, MAX_MANIFEST), media_type)

    async def _is_here(self, repository: Repository, digest: Digest) -> bool:
        held = await self._grants.media_type(repository, digest)
        return held is not None and await self._content.size(digest) is not None

    async def _read(self, repository: Repository, digest: Digest) -> Manifest:
        found = await self._upstreams[repository.registry].fetch_manifest(repository, digest)
        if found is None:
            raise RegistryError(Problem.MANIFEST_UNKNOWN, digest)
        raw, media_type = found
        if digest_of(raw) != digest:
            raise UpstreamError(f"the upstream serves other bytes for {digest}", transient=False)
        try:
            return parse_manifest(raw, media_type)
        except RegistryError as error:
            raise UpstreamError(f"the upstream's manifest {digest}: {error.detail}", transient=False) from error

    async def _store(self, repository: Repository, manifest: Manifest) -> None:
        lease = PULLS + self._new_id()
        unneeded: str | None = lease
        await self._leases.create(lease, seconds=LASTS)
        try:
            await self._content.put(manifest.raw, manifest.digest, lease, {})
            unneeded = await self._grants.pull(repository, manifest, lease)
        finally:
            await let_go(self._leases, unneeded)
