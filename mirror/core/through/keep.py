"""Pulled manifests become images of the host once they are whole: from then on they are evicted like any other."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable

import structlog

from mirror.core.errors import ContentMissingError, JournalUnavailableError, StoreUnavailableError, UpstreamError
from mirror.core.ports import Grants
from mirror.core.through.adopt import Adopter
from mirror.oci.errors import RegistryError
from mirror.oci.manifest import Descriptor, Manifest
from mirror.oci.names import Digest, Repository

_log = structlog.get_logger(__name__)
_REMEMBERED = 16 * 1024 * 1024  # bytes of manifests

Keep = Callable[[Repository, Manifest], Awaitable[None]]
"""Makes a manifest an image; raises RegistryError when it may not be one."""


class Keeper:
    """Waits for what pulled manifests name.

    In memory only: a manifest that is asked for again after a restart is noted again, and until then it is held for as
    long as anything that was pulled. With `adopter`, what the host has already need not be pulled.
    """

    def __init__(self, grants: Grants, adopter: Adopter | None) -> None:
        self._grants = grants
        self.adopter = adopter
        self._waiting: OrderedDict[tuple[Repository, Digest], Manifest] = OrderedDict()
        self._news = asyncio.Queue[tuple[Repository, Digest]]()

    def waits_for(self, repository: Repository, digest: Digest) -> bool:
        """Whether a manifest has been noted already."""
        return (repository, digest) in self._waiting

    def note(self, repository: Repository, manifest: Manifest) -> None:
        """A manifest was pulled."""
        self._waiting[repository, manifest.digest] = manifest
        while sum(len(one.raw) for one in self._waiting.values()) > _REMEMBERED:
            self._waiting.popitem(last=False)
        self.arrived(repository, manifest.digest)

    def arrived(self, repository: Repository, digest: Digest) -> None:
        """Something is here now that may be one of them, or that some of them may name."""
        self._news.put_nowait((repository, digest))

    async def run(self, keep: Keep) -> None:
        """Keep what is whole, for as long as the daemon runs."""
        while True:
            repository, digest = await self._news.get()
            for (where, root), manifest in list(self._waiting.items()):
                named = {root, *(child.digest for child in manifest.edges().values())}
                if where == repository and digest in named:
                    await self._look(repository, manifest, keep)

    async def _look(self, repository: Repository, manifest: Manifest, keep: Keep) -> None:
        """Keep a manifest, if it is whole. Nothing depends on it: what fails is left until more of it comes."""
        try:
            if not await self._is_whole(repository, manifest):
                return
            await keep(repository, manifest)
        except (
            RegistryError,
            ContentMissingError,
            JournalUnavailableError,
            StoreUnavailableError,
            UpstreamError,
        ) as error:
            _log.info("pull.not_kept", repository=str(repository), manifest=manifest.digest, reason=str(error))
            return
        if not manifest.manifests:  # of an index there may come more
            self._waiting.pop((repository, manifest.digest), None)
            self.arrived(repository, manifest.digest)

    async def _is_whole(self, repository: Repository, manifest: Manifest) -> bool:
        """Whether all of it is here; of an index, whether any image of it is."""
        if manifest.manifests:
            return await self._has_kept_one_of(repository, manifest.manifests)
        needed = [blob.digest for blob in manifest.blobs if not blob.is_foreign]
        held = await self._grants.granted(repository, needed)
        for digest in needed:
            if digest not in held and not await self._adopted(repository, digest):
                return False
        return True

    async def _has_kept_one_of(self, repository: Repository, children: Iterable[Descriptor]) -> bool:
        for child in children:
            if await self._is_kept(repository, child.digest):
                return True
        return False

    async def _is_kept(self, repository: Repository, digest: Digest) -> bool:
        held = await self._grants.media_type(repository, digest)
        return held is not None and not await self._grants.is_loose(repository, digest)

    async def _adopted(self, repository: Repository, digest: Digest) -> bool:
        return self.adopter is not None and await self.adopter.adopt(repository, digest)
