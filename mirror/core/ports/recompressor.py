"""Layers of gzip, compressed anew with zstd."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from mirror.oci.manifest import Descriptor
from mirror.oci.names import Digest


@dataclass(frozen=True, slots=True)
class Recompressed:
    """What was made of a layer: a blob of `size` bytes, which has `uncompressed` bytes inside."""

    digest: Digest
    size: int
    uncompressed: int


class Recompression(Protocol):
    """One layer, while it is compressed anew. Whoever does not read on makes it wait."""

    def pieces(self) -> AsyncIterator[bytes]:
        """What is made of it.

        Raises:
            BadLayerError: it is cut off or damaged, too much is inside, or it is not what its diff ID says. That is
                known at the end alone, and what came before it is of no use.
            ContentMissingError, StoreUnavailableError; RecompressionError: it was killed.
        """

    @property
    def made(self) -> Recompressed:
        """What the pieces are together, once all of them are read."""


class Recompressor(Protocol):
    """Compresses layers anew, where nobody else wants processors and disks."""

    def recompress(self, layer: Descriptor, diff_id: str, level: int) -> AbstractAsyncContextManager[Recompression]:
        """Begin with a layer of gzip; it ends with the context, whether it is through or not."""
