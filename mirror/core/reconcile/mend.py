"""Mending what a comparison found. Each remedy may be applied to what has mended itself meanwhile, and does nothing."""

from mirror.core.errors import ContentMissingError, UpstreamError
from mirror.core.publish import ManifestPush
from mirror.core.pull import read_whole
from mirror.core.reconcile.deep import Hasher
from mirror.core.reconcile.findings import (
    Damage,
    Finding,
    GoneContent,
    HalfSnapshot,
    LooseContent,
    MissingLease,
    OrphanIngest,
    OrphanLease,
    StaleGrants,
    UnknownTag,
)
from mirror.core.reconcile.survey import Stores, Surveyor
from mirror.core.replication.restore import Restorer
from mirror.core.signal import Signal
from mirror.oci.errors import RegistryError
from mirror.oci.manifest import MAX_MANIFEST, parse_manifest
from mirror.oci.names import Digest, Repository


class UnmendedError(Exception):
    """A finding stays as it is; the text says why."""


class Mender:
    """Applies the remedy that a finding names."""

    def __init__(
        self,
        *,
        stores: Stores,
        surveyor: Surveyor,
        manifest_push: ManifestPush,
        restorer: Restorer,
        hasher: Hasher,
        changed: Signal,
    ) -> None:
        self._stores = stores
        self._surveyor = surveyor
        self._manifest_push = manifest_push
        self._restorer = restorer
        self._hasher = hasher
        self._changed = changed
        self._hurried: set[int] = set()

    async def mend(self, finding: Finding) -> None:
        """Mend one finding.

        Raises:
            UnmendedError: it cannot be mended, or not now.
            StoreUnavailableError, JournalUnavailableError: one of the two is away.
        """
        match finding:
            case OrphanLease():
                await self._stores.leases.delete(finding.subject)
            case OrphanIngest():
                await self._stores.content.abort(finding.subject)
            case HalfSnapshot():
                await self._stores.snapshots.remove(finding.subject)
            case MissingLease():
                await self._hold(finding)
            case LooseContent():
                await self._hold(finding)
            case GoneContent():
                await self._hurry(finding)
            case UnknownTag():
                await self._adopt(finding)
            case StaleGrants():
                await self._stores.grants.drop(finding.grants)
            case Damage():
                await self._replace(finding)

    async def _hold(self, finding: MissingLease | LooseContent) -> None:
        """See that a job's lease exists and holds what the job needs; if it is over by now, there is to be none."""
        job = finding.job
        await self._stores.leases.create(job.lease)
        await self._stores.leases.hold(job.lease, job.digest)
        need = await self._surveyor.need(job)
        for digest in sorted(need.children - need.held):
            await self._stores.leases.hold(job.lease, digest)
        if not await self._stores.jobs.needs_lease(job):
            await self._stores.leases.delete(job.lease)

    async def _hurry(self, finding: GoneContent) -> None:
        """Once for each job: when its attempt could not do anything about it, the next one waits for its time."""
        if finding.is_parked:
            raise UnmendedError("it is lost, unless somebody pushes it again or brings it back: see `jobs list`")
        if finding.job.id not in self._hurried:
            self._hurried.add(finding.job.id)
            await self._stores.jobs.expedite(finding.job.id)
            self._changed.fire()

    async def _adopt(self, finding: UnknownTag) -> None:
        try:
            raw = await read_whole(self._stores.content, finding.digest, MAX_MANIFEST)
            manifest = parse_manifest(raw, finding.media_type)
            await self._manifest_push.adopt(finding.repository, finding.tag, manifest)
        except (RegistryError, ContentMissingError) as error:
            raise UnmendedError(str(error)) from error

    async def _replace(self, finding: Damage) -> None:
        """Ask the upstreams of those that hold it, one after the other."""
        reason = "nobody holds it"
        for repository in finding.holders:
            reason = await self._fetch(repository, finding.digest)
            if not reason:
                break
        if reason:
            raise UnmendedError(reason)
        if await self._hasher.is_damaged(finding.digest):
            raise UnmendedError("the file stays: another namespace of containerd has it too")

    async def _fetch(self, repository: Repository, digest: Digest) -> str:
        """Why content could not be had from an upstream, nothing if it could."""
        try:
            await self._restorer.repair(repository, digest)
        except ContentMissingError:
            return f"the upstream does not have it in {repository}"
        except UpstreamError as error:
            return str(error)
        return ""
