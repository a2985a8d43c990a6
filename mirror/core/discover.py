"""What there is to be found: tags, repositories, and what refers to a manifest."""

from collections.abc import Callable

from mirror.core.ports import Content, Grants, Images
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.manifest import Descriptor
from mirror.oci.names import Digest, Repository

MaySee = Callable[[Repository], bool]
"""Whether whoever asks may know of a repository."""

_PAGE = 1000


class Discovery:
    """The use cases of content discovery. What a repository was never given is not listed for it."""

    def __init__(self, *, content: Content, images: Images, grants: Grants) -> None:
        self._content = content
        self._images = images
        self._grants = grants

    async def tags(self, repository: Repository) -> list[str]:
        """The tags of a repository in ASCII order.

        Raises:
            RegistryError: REPOSITORY_UNKNOWN when it holds nothing.
        """
        if not await self._grants.exists(repository):
            raise RegistryError(Problem.REPOSITORY_UNKNOWN, str(repository))
        prefix = f"{repository}:"
        images = await self._images.list(prefix)
        granted = await self._grants.granted(repository, [image.target.digest for image in images])
        return sorted(image.name.removeprefix(prefix) for image in images if image.target.digest in granted)

    async def repositories(self, registry: str, after: str, limit: int, may_see: MaySee) -> list[str]:
        """The first `limit` repositories that hold anything and may be seen, in ASCII order, from behind `after`."""
        found: list[str] = []
        while len(found) < limit and (page := await self._grants.repositories(registry, after, _PAGE)):
            found += [path for path in page if may_see(Repository(registry, path))]
            after = page[-1]
        return found[:limit]

    async def referrers(self, repository: Repository, subject: Digest) -> list[Descriptor]:
        """The manifests of a repository that name `subject` as theirs and are still here, in the order they came."""
        listed = await self._grants.referrers(repository, subject)
        return [descriptor for descriptor in listed if await self._content.size(descriptor.digest) is not None]
