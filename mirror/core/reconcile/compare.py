"""The comparison: what a survey saw, and what is wrong with it. No I/O, no state, no clock."""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import groupby

from mirror.core.jobs import Job
from mirror.core.ports import Grant, Image
from mirror.core.publish import JOB_LEASES
from mirror.core.push import UPLOADS
from mirror.core.reconcile.findings import (
    GoneContent,
    HalfSnapshot,
    LooseContent,
    MissingLease,
    OrphanIngest,
    OrphanLease,
    StaleGrants,
    UnknownTag,
)
from mirror.core.replication.restore import RESTORES
from mirror.core.through.fetch import PULLS
from mirror.oci.names import Digest, Reference, Repository


@dataclass(frozen=True, slots=True)
class Loose:
    """What of ours in containerd must belong to something: names of leases, ingests and half snapshots."""

    leases: frozenset[str] = frozenset()
    ingests: frozenset[str] = frozenset()
    halves: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Owners:
    """What they may belong to, by the names that it gives them: jobs, sessions, grants, and what is in flight."""

    jobs: frozenset[str] = frozenset()
    sessions: frozenset[str] = frozenset()
    grants: frozenset[str] = frozenset()
    in_flight: frozenset[str] = frozenset()

    @property
    def leases(self) -> frozenset[str]:
        """The leases that are needed."""
        return self.jobs | self.sessions | self.grants | self.in_flight

    @property
    def ingests(self) -> frozenset[str]:
        """The ingests that somebody will go on with."""
        return self.sessions | self.in_flight


@dataclass(frozen=True, slots=True)
class Need:
    """A job that is not over, what its own lease holds, by name or by its manifest, and what it needs.

    `children` are the manifest and what it names, which the lease must hold; `family` is everything below that cannot
    be missing, or what is known of it: not `is_known`, when a manifest cannot be read. `is_parked` says that its
    replication waits for a person.
    """

    job: Job
    held: AbstractSet[Digest]
    children: AbstractSet[Digest]
    family: AbstractSet[Digest]
    is_known: bool
    is_parked: bool


@dataclass(frozen=True, slots=True)
class Tag:
    """An image record of a configured registry.

    `media_type` is that of its manifest if it was pushed to the repository; `newest` is the newest job of the tag.
    """

    image: Image
    repository: Repository
    reference: Reference
    media_type: str | None
    newest: Job | None


@dataclass(frozen=True, slots=True)
class Needed:
    """What the jobs need that are not over, together; of some repositories that is not known, so it may be anything."""

    content: set[tuple[Repository, Digest]] = field(default_factory=set)
    anything: set[Repository] = field(default_factory=set)

    def add(self, need: Need) -> None:
        """Note what a job needs."""
        repository = need.job.repository
        self.content.update((repository, digest) for digest in need.children | need.family)
        if not need.is_known:
            self.anything.add(repository)

    def covers(self, grant: Grant) -> bool:
        """Whether a job may need the content of a grant."""
        return grant.repository in self.anything or (grant.repository, grant.digest) in self.content


def unowned(loose: Loose, owners: Owners) -> Loose:
    """What belongs to nothing; other leases and ingests of ours end by themselves."""
    leases = {lease for lease in loose.leases - owners.leases if lease.startswith((JOB_LEASES, UPLOADS))}
    ingests = {ref for ref in loose.ingests - owners.ingests if ref.startswith((UPLOADS, RESTORES, PULLS))}
    return Loose(frozenset(leases), frozenset(ingests), loose.halves)


def orphans(before: Loose, after: Loose, owners: Owners) -> Iterator[OrphanLease | OrphanIngest | HalfSnapshot]:
    """What belongs to nothing: it was there `before` the owners were asked for, and still is `after`."""
    first, again = unowned(before, owners), unowned(after, owners)
    yield from (OrphanLease(lease) for lease in sorted(first.leases & again.leases))
    yield from (OrphanIngest(ingest) for ingest in sorted(first.ingests & again.ingests))
    yield from (HalfSnapshot(half) for half in sorted(first.halves & again.halves))


def missing_leases(jobs: Iterable[Job], leases: AbstractSet[str], newest: int) -> Iterator[MissingLease]:
    """Jobs without a lease; of those after `newest` nothing can be said, as they are younger than the list."""
    for job in jobs:
        if job.id <= newest and job.lease not in leases:
            yield MissingLease(job)


def misses(need: Need, leases: AbstractSet[str], content: AbstractSet[Digest]) -> Iterator[LooseContent | GoneContent]:
    """What a job's lease does not hold, unless the whole lease is missing, and what is gone."""
    loose = sorted((need.children & content) - need.held)
    if loose and need.job.lease in leases:
        yield LooseContent(need.job, loose)
    if gone := sorted(need.family - content):
        yield GoneContent(need.job, gone, need.is_parked)


def unknown_tag(tag: Tag, content: AbstractSet[Digest], owners: Owners, newest: int) -> UnknownTag | None:
    """A record that others made or moved, and that no push or delete of ours has to do with.

    Of a push or a delete that is on its way, the record may not be moved yet; but then it is older than the job.
    """
    job, digest = tag.newest, tag.image.target.digest
    if tag.media_type is None or digest not in content:
        return None
    if job and (job.id > newest or job.lease in owners.in_flight or tag.image.updated <= job.created):
        return None
    if job and job.lease and job.digest == digest:
        return None
    return UnknownTag(tag.repository, tag.reference, digest, tag.media_type)


def stale_grants(page: Sequence[Grant], content: AbstractSet[Digest], needed: Needed) -> Iterator[StaleGrants]:
    """The grants of content that is gone and that no job needs, those of a repository together."""
    stale = (
        grant for grant in page if not grant.is_revoked and grant.digest not in content and not needed.covers(grant)
    )
    for repository, grants in groupby(stale, key=lambda grant: grant.repository):
        yield StaleGrants(repository, tuple(grants))


def spent_grants(page: Sequence[Grant], needed: Needed) -> list[Grant]:
    """The revoked grants that no job needs any more."""
    return [grant for grant in page if grant.is_revoked and not needed.covers(grant)]
