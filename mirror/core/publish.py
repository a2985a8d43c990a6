"""Pushing a manifest: the acknowledgement. From here on the image must reach the upstream, whatever happens."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import structlog

from mirror.core.access import Principal
from mirror.core.admission import Admission
from mirror.core.concurrency import SharedLock, run_all
from mirror.core.drain import Gate
from mirror.core.errors import JournalUnavailableError
from mirror.core.isolation import Isolation
from mirror.core.jobs import Job, NewJob
from mirror.core.leases import let_go
from mirror.core.ports import (
    Candidate,
    Clock,
    Content,
    Grants,
    Images,
    Jobs,
    Leases,
    Nobody,
    Observer,
    Tracer,
    Untraced,
)
from mirror.core.signal import Signal
from mirror.core.timeline import Arrival, Arrivals
from mirror.core.trace import IMAGE, JOB, MANIFEST
from mirror.core.verify import Verification
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.manifest import Descriptor, Manifest, parse_manifest
from mirror.oci.names import Digest, Reference, Repository

_log = structlog.get_logger(__name__)

JOB_LEASES = "registry-mirror/job/"
"""What the leases begin with that hold an image until it is verified upstream."""

KEEP_LEASES = "registry-mirror/keep/"
"""What the leases begin with that hold what was pulled while it becomes an image."""

THE_UPSTREAM = Principal("upstream")
"""Who brought what was pulled, as those are told who verify it."""

OURSELVES = Principal("registry-mirror")
"""Who made what was made here, as those are told who verify it."""

_KEPT_WITHIN = 3600.0

# Containerd makes one change after the other, but calls that wait for their turn there hide each other's way.
_AT_ONCE = 16

Coming = Callable[[Repository, Iterable[Digest]], Awaitable[None]]
"""Waits for those of a repository's content that it was promised. Raises RegistryError: CONTENT_COMING."""


HasVariant = Callable[[Repository, Reference, Manifest], bool]
"""Whether a variant is to be made of what is pushed under a name."""


class _MovedOnError(Exception):
    """The image record is not what it was any more."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What was acknowledged, and for each of its references the job that brings it upstream."""

    manifest: Manifest
    jobs: tuple[Job, ...]


class ManifestPush:
    """The use case of `PUT /v2/<name>/manifests/<reference>`.

    The order is the promise: children are held before they are looked for, so that nothing can be collected in
    between; the job is in the journal before the image record moves, and both before the client is told.
    No eviction comes in between either: those that hold `evictions` alone wait for it. With `isolation`,
    what would reach for what others have is refused; with `verification`, what that does not let in.
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
        new_id: Callable[[], str],
        changed: Signal,
        gate: Gate,
        admission: Admission,
        evictions: SharedLock,
        isolation: Isolation | None = None,
        verification: Verification | None = None,
        coming: Coming | None = None,
        arrivals: Arrivals | None = None,
        observer: Observer | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._content = content
        self._images = images
        self._leases = leases
        self._grants = grants
        self._jobs = jobs
        self._clock = clock
        self._new_id = new_id
        self._changed = changed
        self._gate = gate
        self._admission = admission
        self._evictions = evictions
        self.isolation = isolation
        self.verification = verification
        self._coming = coming
        self.has_variant: HasVariant | None = None
        self._arrivals = arrivals or Arrivals()
        self._observer = observer or Nobody()
        self._tracer = tracer or Untraced()
        # One lock for all: the journal's order of pushes and the image record's last move must never disagree.
        self._acknowledging = asyncio.Lock()
        self._in_flight: set[str] = set()

    def in_flight(self) -> frozenset[str]:
        """The leases of pushes that are not acknowledged yet: a job or the image record may still be missing."""
        return frozenset(self._in_flight)

    async def put(
        self,
        repository: Repository,
        references: Sequence[Reference],
        content_type: str,
        raw: bytes,
        principal: Principal,
    ) -> Pushed:
        """Store a manifest, and acknowledge it under each of its references.

        Raises:
            RegistryError: MANIFEST_INVALID, MANIFEST_TOO_LARGE, MANIFEST_BLOB_UNKNOWN, DRAINING, NO_ROOM;
                DIGEST_INVALID when it is put under a digest that it does not have; DENIED, VERIFIER_UNAVAILABLE;
                CONTENT_COMING.
                Nothing is left behind.
        """
        begun, began = self._clock.now(), self._clock.monotonic()
        manifest = parse_manifest(raw, content_type)
        if {reference.digest for reference in references} - {None, manifest.digest}:
            raise RegistryError(Problem.DIGEST_INVALID, f"the manifest's digest is {manifest.digest}")
        self._admission.check(len(raw))
        if self._coming:
            await self._coming(repository, [child.digest for child in manifest.edges().values()])
        if self.verification:
            await self._verify(self.verification, Candidate(repository, tuple(references), manifest, principal))
        arrival = self._arrivals.of(repository, manifest, begun)
        jobs = [await self._put(repository, reference, manifest, arrival) for reference in references]
        self._arrivals.take(repository, manifest, arrival)
        for job in jobs:
            self._observer.acknowledged(job, self._clock.monotonic() - began)
        return Pushed(manifest, tuple(jobs))

    async def _verify(self, verification: Verification, candidate: Candidate) -> None:
        """Have it decided whether it may be pushed, while there is nothing of it that would have to be undone.

        Nor is any lock held: an answer may take its time. All that the manifest names is looked for before somebody is
        asked, who may want to read that.
        """
        await verification.check(candidate)
        if verification.asks:
            await self._find(candidate.repository, candidate.manifest)
            await verification.ask(candidate)

    async def _put(self, repository: Repository, reference: Reference, manifest: Manifest, arrival: Arrival) -> Job:
        said = {IMAGE: repository.image(reference), MANIFEST: manifest.digest}
        with self._tracer.span("manifest.acknowledge", said) as span:
            async with self._evictions.shared():
                job = await self._acknowledge(repository, reference, manifest, arrival=arrival)
            span.note({JOB: job.id})
        _log.info("push.acknowledged", job=job.id, image=job.image, digest=job.digest)
        await self._settle(repository, manifest)
        return job

    async def keep(self, repository: Repository, manifest: Manifest) -> None:
        """Make a manifest that came from its upstream an image of the host, under its digest; nothing brings it there.

        It has to be what a pushed one has to be: whoever starts it does not ask how it came.

        Raises:
            RegistryError: MANIFEST_BLOB_UNKNOWN, DENIED, VERIFIER_UNAVAILABLE.
        """
        reference = Reference(None, manifest.digest)
        if self.verification:
            await self._verify(self.verification, Candidate(repository, (reference,), manifest, THE_UPSTREAM))
        lease = KEEP_LEASES + self._new_id()
        async with self._evictions.shared():
            try:
                await self._store(repository, manifest, lease, _KEPT_WITHIN)
                if self.isolation:
                    await self.isolation.check_claims(manifest, lease)
                await self._images.point(repository.image(reference), manifest.descriptor)
            finally:
                await let_go(self._leases, lease)
        _log.info("pull.kept", repository=str(repository), digest=manifest.digest)
        await self._settle(repository, manifest)

    async def adopt(self, repository: Repository, tag: Reference, manifest: Manifest) -> Job | None:
        """Bring a tag upstream that others made or moved here, to a manifest that was pushed; None if it moved on.

        Nobody is asked whether they may: the manifest was let in, and whoever makes image records is root.

        Raises:
            RegistryError: MANIFEST_BLOB_UNKNOWN, DRAINING.
        """
        name = repository.image(tag)

        async def check() -> None:
            image = await self._images.get(name)
            if image is None or image.target.digest != manifest.digest:
                raise _MovedOnError

        try:
            job = await self._acknowledge(repository, tag, manifest, check=check, moves=False)
        except _MovedOnError:
            return None
        _log.warning("image.adopted", job=job.id, image=name, digest=job.digest)
        return job

    async def derive(
        self, repository: Repository, reference: Reference, manifest: Manifest, check: Callable[[], Awaitable[None]]
    ) -> Job:
        """Acknowledge what was made here of an image that was pushed, as if it were pushed, too.

        `check` raises whatever says that it is not wanted any more; between that and the acknowledgement no tag moves.

        Raises:
            RegistryError: MANIFEST_BLOB_UNKNOWN, DRAINING, DENIED, VERIFIER_UNAVAILABLE; whatever `check` raises.
        """
        if self.verification:
            await self._verify(self.verification, Candidate(repository, (reference,), manifest, OURSELVES))
        async with self._evictions.shared():
            job = await self._acknowledge(repository, reference, manifest, check=check, is_variant=True)
        await self._settle(repository, manifest)
        return job

    async def _acknowledge(
        self,
        repository: Repository,
        reference: Reference,
        manifest: Manifest,
        *,
        arrival: Arrival | None = None,
        check: Callable[[], Awaitable[None]] | None = None,
        moves: bool = True,
        is_variant: bool = False,
    ) -> Job:
        """Store the manifest under a lease of its own and make that lease a job's, if `check` does not raise.

        The image record is moved, unless others did that.
        """
        lease = JOB_LEASES + self._new_id()
        job: Job | None = None
        self._gate.check()  # from here to the next line nothing can come between: a drain waits for all it let pass
        self._in_flight.add(lease)
        try:
            await self._store(repository, manifest, lease)
            if self.isolation:
                await self.isolation.check_claims(manifest, lease)
            async with self._acknowledging:
                if check:
                    await check()
                new = self._job(repository, reference, manifest, lease, arrival)
                job = await self._jobs.enqueue(replace(new, is_variant=is_variant))
                if moves:
                    await self._images.point(job.image, manifest.descriptor)
        except Exception:
            # From the journal on the lease is the job's, even if the tag cannot be moved. A cancelled push is left as
            # it is: whether it reached the journal is for the reconciler to find out.
            if job is None:
                await self._leases.delete(lease)
            raise
        finally:
            self._in_flight.discard(lease)
            self._changed.fire()
        return job

    def _job(
        self, repository: Repository, reference: Reference, manifest: Manifest, lease: str, arrival: Arrival | None
    ) -> NewJob:
        return NewJob(
            repository,
            reference,
            manifest.digest,
            manifest.media_type,
            lease,
            self._clock.now(),
            subject=manifest.subject.digest if manifest.subject else None,
            referrer=manifest.referrer if manifest.subject else None,
            arrival=arrival,
            trace=self._tracer.current(),
            # What did not come from a builder is a variant itself, or somebody else's.
            convert=bool(arrival and self.has_variant and self.has_variant(repository, reference, manifest)),
        )

    async def _store(
        self, repository: Repository, manifest: Manifest, lease: str, seconds: float | None = None
    ) -> None:
        """Store the manifest under a lease; what it names is held by the manifest itself.

        That is looked for before, so that an incomplete image leaves nothing behind, and again when nothing of it can
        be collected any more.
        """
        present: set[Digest] = set()

        async def look() -> None:
            present.update(await self._find(repository, manifest))

        await run_all((self._leases.create(lease, seconds=seconds), look()), _AT_ONCE)
        edges = {place: child.digest for place, child in manifest.edges().items() if child.digest in present}
        await self._content.put(manifest.raw, manifest.digest, lease, edges)
        await self._present(manifest, present)

    async def _find(self, repository: Repository, manifest: Manifest) -> set[Digest]:
        """Those children that are there, of those that the repository was granted."""
        if self.isolation:
            await self.isolation.check_names(repository, manifest)
        granted = await self._grants.granted(repository, [child.digest for child in manifest.edges().values()])
        return await self._present(manifest, granted)

    async def _present(self, manifest: Manifest, among: Iterable[Digest]) -> set[Digest]:
        """Those children that are there, of those that may be meant.

        An image must be complete but for layers that live elsewhere; an index may be sparse.
        """
        children = {child.digest: child for child in manifest.edges().values()}
        present: set[Digest] = set()

        async def look(digest: Digest) -> None:
            if await self._is_there(children[digest]):
                present.add(digest)

        await run_all((look(digest) for digest in among), _AT_ONCE)
        for blob in manifest.blobs:
            if blob.digest not in present and not blob.is_foreign:
                raise RegistryError(Problem.MANIFEST_BLOB_UNKNOWN, blob.digest)
        return present

    async def _is_there(self, child: Descriptor) -> bool:
        size = await self._content.size(child.digest)
        if size not in {None, child.size}:
            raise RegistryError(Problem.MANIFEST_INVALID, f"{child.digest} has {size} bytes, not {child.size}")
        return size is not None

    async def _settle(self, repository: Repository, manifest: Manifest) -> None:
        """The image holds its blobs now: end the leases of their uploads, or leave them to run out."""
        held = [manifest.digest, *(child.digest for child in manifest.edges().values())]
        try:
            leases = await self._grants.settle(repository, held)
        except JournalUnavailableError as error:
            _log.warning("leases.kept", reason=str(error))  # no reason to refuse a push that is in the journal
            return
        await run_all((let_go(self._leases, lease) for lease in leases), _AT_ONCE)
