"""The survey: what the journal and containerd say, read in an order in which what is on its way is never overlooked.

containerd goes first, what is in flight after it, the journal last: what somebody is making right now is in one of the
latter by then, because it is noted there before anything is made. What is looked for in the other direction, what the
journal names and containerd lacks, is asked for once more, by name, before it counts as gone.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

from mirror.core.concurrency import in_order
from mirror.core.errors import ContentMissingError
from mirror.core.jobs import Job, Kind, State
from mirror.core.ports import Clock, Content, Grant, Grants, Image, Images, Jobs, Leases, Snapshots, Uploads
from mirror.core.publish import JOB_LEASES
from mirror.core.pull import read_whole
from mirror.core.push import UPLOADS
from mirror.core.reconcile.compare import Loose, Need, Owners, Tag, unowned
from mirror.oci.errors import RegistryError
from mirror.oci.manifest import MAX_MANIFEST, Manifest, parse_manifest
from mirror.oci.names import Digest, Repository, split_image

_OURS = "registry-mirror/"
_PAGE = 500
# What is asked of the journal together is one transaction.
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Survey:
    """What a round begins with; `content` is a list that is completed while it is worked with.

    `newest` was the last job when it began.
    """

    newest: int
    before: Loose
    after: Loose
    owners: Owners
    jobs: list[Job]
    images: list[Image] = field(default_factory=list)
    content: set[Digest] = field(default_factory=set, repr=False)


@dataclass(frozen=True, slots=True)
class Stores:
    """What a survey reads."""

    content: Content
    images: Images
    leases: Leases
    snapshots: Snapshots
    grants: Grants
    jobs: Jobs
    uploads: Uploads


class Surveyor:
    """Reads both sides; what may be long comes piece by piece.

    `in_flight` names leases and ingests of what is not in the journal yet; `registries` are those that are configured.
    What belongs to nothing is looked at again after `grace` seconds: whoever has just let go of it in the journal is
    about to end it.

    Every method raises StoreUnavailableError and JournalUnavailableError when one of the two is away.
    """

    def __init__(
        self,
        stores: Stores,
        in_flight: Callable[[], frozenset[str]],
        registries: frozenset[str],
        clock: Clock,
        *,
        grace: float = 1.0,
    ) -> None:
        self._stores = stores
        self._in_flight = in_flight
        self._registries = registries
        self._clock = clock
        self._grace = grace

    async def leases(self) -> Survey:
        """The leases of jobs alone, which is cheap."""
        newest = await self._stores.jobs.newest()
        before = Loose(await self._leases(JOB_LEASES))
        in_flight = self._in_flight()
        jobs = await self._stores.jobs.held()
        owners = _owners(jobs, in_flight=in_flight)
        await self._wait(before, owners)
        return Survey(newest, before, Loose(await self._leases(JOB_LEASES)), owners, jobs)

    async def whole(self) -> Survey:
        """Everything that is not read piece by piece."""
        newest, early = await self._stores.jobs.newest(), self._in_flight()
        before = await self._loose()
        images = [image for name in sorted(self._registries) for image in await self._stores.images.list(f"{name}/")]
        in_flight = early | self._in_flight()
        jobs = await self._stores.jobs.held()
        # A session that ends in between becomes a grant.
        sessions, grants = await self._stores.uploads.ids(), await self._stores.grants.leases()
        owners = _owners(jobs, sessions, grants, in_flight)
        content = {blob.digest async for blob in self._stores.content.list()}
        await self._wait(before, owners)
        return Survey(newest, before, await self._loose(), owners, jobs, images, content)

    async def _wait(self, loose: Loose, owners: Owners) -> None:
        if unowned(loose, owners) != Loose():
            await self._clock.sleep(self._grace)

    async def _loose(self) -> Loose:
        stores = self._stores
        return Loose(
            await self._leases(_OURS),
            frozenset(await stores.content.ingests(_OURS)),
            frozenset(await stores.snapshots.abandoned()),
        )

    async def _leases(self, prefix: str) -> frozenset[str]:
        return frozenset(await self._stores.leases.list(prefix))

    async def needs(self, survey: Survey) -> AsyncIterator[Need]:
        """What each job needs, one after the other; jobs that came since the beginning are for the next round."""
        for job in survey.jobs:
            if job.id <= survey.newest:
                need = await self.need(job)
                await self._complete(survey.content, need.family)
                yield need

    async def need(self, job: Job) -> Need:
        """What one job needs."""
        held = await self._stores.leases.held(job.lease)
        if job.digest in held:
            held |= await self._stores.content.references(job.digest)
        tasks = await self._stores.jobs.tasks(job.id)
        parked = any(task.kind is Kind.REPLICATE and task.state is State.PARKED for task in tasks)
        root = await self._read(job.digest, job.media_type)
        children = await self._children(job.repository, root) if root else frozenset()
        family = await self._family(job.repository, root) if root else _Family(is_known=False)
        return Need(job, held, {job.digest, *children}, {job.digest, *family.digests}, family.is_known, parked)

    async def _read(self, digest: Digest, media_type: str) -> Manifest | None:
        """A manifest, None when it is gone or cannot be understood: that is for an attempt to say."""
        try:
            return parse_manifest(await read_whole(self._stores.content, digest, MAX_MANIFEST), media_type)
        except (ContentMissingError, RegistryError):
            return None

    async def _children(self, repository: Repository, manifest: Manifest) -> frozenset[Digest]:
        """What a manifest names itself, as far as its repository was given it."""
        named = [child.digest for child in manifest.edges().values()]
        return frozenset(await self._stores.grants.given(repository, named))

    async def _family(self, repository: Repository, root: Manifest) -> "_Family":
        """Everything below a manifest without which it is not whole: all but foreign layers and what was not pushed."""
        family = _Family({blob.digest for blob in root.blobs if not blob.is_foreign})
        for child in root.manifests:
            media_type = await self._stores.grants.media_type(repository, child.digest)
            if media_type is not None:
                below = await self._read(child.digest, media_type)
                grown = await self._family(repository, below) if below else _Family(is_known=False)
                family.digests.update({child.digest}, grown.digests)
                family.is_known &= grown.is_known
        return family

    async def tags(self, survey: Survey) -> AsyncIterator[Tag]:
        """The tags of the configured registries; those of an image that is only named by its digest need no job."""
        async for tag in in_order(self._tag, survey.images, _AT_ONCE):
            if tag:
                yield tag

    async def _tag(self, image: Image) -> Tag | None:
        registry, _, name = image.name.partition("/")
        if ":" not in name or "@" in name:
            return None
        try:
            repository, reference = split_image(name, frozenset(), registry)
        except RegistryError:  # others may name their images as they like
            return None
        media_type = await self._pushed(repository, image.target.digest)
        tasks = await self._stores.jobs.find(repository, reference)
        return Tag(image, repository, reference, media_type, tasks[0].job if tasks else None)

    async def _pushed(self, repository: Repository, digest: Digest) -> str | None:
        """The media type of a manifest that was pushed here.

        A tag of one that was pulled is none to bring upstream: it says what that said when it was pulled.
        """
        if await self._stores.grants.is_pulled(repository, digest):
            return None
        return await self._stores.grants.media_type(repository, digest)

    async def grants(self, survey: Survey) -> AsyncIterator[list[Grant]]:
        """All grants, page by page."""
        page = await self._stores.grants.page(None, _PAGE)
        while page:
            await self._complete(survey.content, (grant.digest for grant in page if not grant.is_revoked))
            yield page
            page = await self._stores.grants.page(page[-1], _PAGE)

    async def _complete(self, content: set[Digest], digests: Iterable[Digest]) -> None:
        """Add to a list of content what came since it was made."""
        for digest in set(digests) - content:
            if await self._stores.content.size(digest) is not None:
                content.add(digest)


@dataclass(slots=True)
class _Family:
    """What is below a manifest; not all of it, if a manifest among it could not be read."""

    digests: set[Digest] = field(default_factory=set)
    is_known: bool = True


def _owners(
    jobs: Iterable[Job],
    sessions: Iterable[str] = (),
    grants: Iterable[str] = (),
    in_flight: frozenset[str] = frozenset(),
) -> Owners:
    leases = frozenset(job.lease for job in jobs)
    return Owners(leases, frozenset(UPLOADS + session for session in sessions), frozenset(grants), in_flight)
