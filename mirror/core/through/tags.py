"""What a tag means: here while that is on its way upstream, else there, as of a while ago."""

from dataclasses import dataclass

import structlog

from mirror.core.concurrency import Together
from mirror.core.errors import UpstreamError
from mirror.core.jobs import Kind, State
from mirror.core.ports import Clock, Grants, Images, Jobs, Transfers, Upstream, UpstreamTag
from mirror.core.pull import Origin
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.manifest import Descriptor
from mirror.oci.names import Digest, Reference, Repository

_log = structlog.get_logger(__name__)

# Of a delete as of a push: until the upstream has heard of it, what was done here counts.
_TOWARDS_UPSTREAM = frozenset({Kind.REPLICATE, Kind.DELETE})
_NOT_OVER = frozenset({State.PENDING, State.RUNNING, State.PARKED})


@dataclass(frozen=True, slots=True)
class Named:
    """What a tag means, and how that is known; `found` is what the upstream has just said of it."""

    digest: Digest
    origin: Origin = Origin.HIT
    found: Descriptor | None = None


class Tags:
    """Resolves tags of repositories that are pulled through."""

    def __init__(self, *, images: Images, grants: Grants, jobs: Jobs, transfers: Transfers, clock: Clock) -> None:
        self._images = images
        self._grants = grants
        self._jobs = jobs
        self._transfers = transfers
        self._clock = clock
        self._questions: Together[Named] = Together()

    async def resolve(self, repository: Repository, reference: Reference, upstream: Upstream, lasts: float) -> Named:
        """What a tag means. What was pushed or asked for in the last so many seconds counts without asking again.

        Raises:
            RegistryError: MANIFEST_UNKNOWN.
            UpstreamError: it cannot be asked, and nothing is known here.
        """
        if await self._is_on_its_way(repository, reference):
            here = await self._here(repository, reference)
            if here is None:
                raise RegistryError(Problem.MANIFEST_UNKNOWN, str(reference))
            return Named(here.digest)
        name = repository.image(reference)
        return await self._questions.do(name, lambda: self._resolve(repository, reference, upstream, lasts))

    async def _resolve(self, repository: Repository, reference: Reference, upstream: Upstream, lasts: float) -> Named:
        here = await self._here(repository, reference)
        known = _newest(here, await self._transfers.tag(repository, str(reference)))
        if known and 0 <= self._clock.now() - known.asked < lasts:
            return Named(known.digest)
        try:
            found = await upstream.find_manifest(repository, str(reference))
        except UpstreamError as error:
            if known is None or error.is_refusal:
                raise
            _log.warning("pull.stale", image=repository.image(reference), reason=str(error))
            return Named(known.digest, Origin.STALE)
        if found:
            await self._transfers.saw_tag(repository, str(reference), found.digest, self._clock.now())
            return Named(found.digest, found=found)
        await self._transfers.forget_tag(repository, str(reference))
        if here is None:
            raise RegistryError(Problem.MANIFEST_UNKNOWN, str(reference))
        return Named(here.digest)  # it was pushed here, and given up on its way

    async def _is_on_its_way(self, repository: Repository, reference: Reference) -> bool:
        tasks = await self._jobs.find(repository, reference)
        return any(task.kind in _TOWARDS_UPSTREAM and task.state in _NOT_OVER for task in tasks)

    async def _here(self, repository: Repository, reference: Reference) -> UpstreamTag | None:
        """What the tag means on this host, since when; None if that is nothing of the repository's."""
        image = await self._images.get(repository.image(reference))
        if image is None or not await self._grants.media_type(repository, image.target.digest):
            return None
        return UpstreamTag(image.target.digest, image.updated)


def _newest(*known: UpstreamTag | None) -> UpstreamTag | None:
    return max((one for one in known if one), key=lambda one: one.asked, default=None)
