"""Layers from gzip to zstd: each once, whatever image it is a part of."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import structlog

from mirror.core.leases import let_go
from mirror.core.party import MAKERS
from mirror.core.ports import (
    Clock,
    Content,
    Conversions,
    Grants,
    Leases,
    Recompressed,
    Recompressor,
    Snapshots,
    Tracer,
    Untraced,
)
from mirror.core.push import MADE, BlobPush
from mirror.core.trace import BLOB, RESULT, SIZE
from mirror.oci.manifest import Descriptor
from mirror.oci.names import Repository

_log = structlog.get_logger(__name__)

Keep = Callable[[AsyncIterator[bytes], int], AsyncIterator[bytes]]
"""Passes on what a layer of so many bytes becomes, at its own pace."""


@dataclass(frozen=True, slots=True)
class Gzip:
    """A layer that can be converted, and the digest of what is inside."""

    layer: Descriptor
    diff_id: str


class LayerConverter:
    """Makes blobs of zstd, which are content of a repository like those that were pushed."""

    def __init__(  # noqa: PLR0913 - its collaborators, each by name
        self,
        *,
        content: Content,
        grants: Grants,
        leases: Leases,
        snapshots: Snapshots,
        conversions: Conversions,
        recompressor: Recompressor,
        blobs: BlobPush,
        clock: Clock,
        tracer: Tracer | None = None,
    ) -> None:
        self._content = content
        self._grants = grants
        self._leases = leases
        self._snapshots = snapshots
        self._conversions = conversions
        self._recompressor = recompressor
        self._blobs = blobs
        self._clock = clock
        self._tracer = tracer or Untraced()

    async def known(self, gzip: Gzip, level: int) -> Recompressed | None:
        """What a layer became before, whether that is still here or not."""
        return await self._conversions.find(gzip.layer.digest, level)

    async def convert(self, repository: Repository, gzip: Gzip, level: int, keep: Keep) -> Recompressed:
        """Give a repository what a layer becomes.

        Raises:
            BadLayerError, ContentMissingError, RecompressionError, StoreUnavailableError; RegistryError: DRAINING,
            NO_ROOM; whatever `keep` raises. Nothing of the layer is left behind then.
        """
        layer = gzip.layer
        with self._tracer.span("layer.convert", {BLOB: layer.digest, SIZE: layer.size}) as span:
            known = await self.known(gzip, level)
            if known and await self._is_here(repository, known):
                span.note({RESULT: "found"})
                return known
            made = await self._convert(repository, gzip, level, keep)
            span.note({RESULT: "converted"})
        await self._snapshots.know(made.digest, gzip.diff_id)
        await self._conversions.note(layer.digest, level, made, self._clock.now())
        _log.info("layer.converted", layer=layer.digest, size=layer.size, blob=made.digest, made=made.size)
        return made

    async def _is_here(self, repository: Repository, made: Recompressed) -> bool:
        """Whether the repository has it, or is given it now."""
        if made.digest in await self._grants.granted(repository, [made.digest]):
            return await self._content.size(made.digest) is not None
        return await self._blobs.adopt(repository, made.digest, MAKERS)

    async def _convert(self, repository: Repository, gzip: Gzip, level: int, keep: Keep) -> Recompressed:
        async with self._recompressor.recompress(gzip.layer, gzip.diff_id, level) as under_way:
            pieces = keep(under_way.pieces(), gzip.layer.size)
            await self._blobs.add(repository, pieces, lambda: under_way.made.digest)
            return under_way.made

    async def give_up(self, repository: Repository) -> None:
        """Let go of what was made for a repository and no manifest names."""
        loose = [grant for grant in await self._grants.loose(MADE) if grant.repository == repository]
        await self._grants.drop(loose)
        for grant in loose:
            await let_go(self._leases, grant.lease)
