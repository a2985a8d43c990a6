"""What layers are inside, and what zstd would make of them: read in part or as a whole, and never kept.

A thread uncompresses and compresses while the loop receives: no more than a few pieces of a layer are in memory.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from mirror.cli.screen import size as in_words
from mirror.core.concurrency import run_all
from mirror.core.errors import BadLayerError, ContentMissingError, UpstreamError
from mirror.oci.manifest import Descriptor
from mirror.oci.names import Digest, Repository
from mirror.recompress.codecs import CutOffError, Zstd, compression, uncompressed
from mirror.upstream.client import RegistryClient

SAMPLE = 8 << 20
"""Bytes of a layer that are read where it is not asked for all of them."""

_MOST_TIMES = 64  # as large as what is read, or as a sample; tars of real files are below ten
_AT_ONCE = 4
_PIECE = 1 << 18
_MAGIC = 4
_DECLARED = {"gzip": "gzip", "zstd": "zstd", "tar": "none"}


@dataclass(frozen=True, slots=True)
class Figures:
    """Sizes in bytes: as it is, uncompressed, and with zstd; that is None for what is zstd already."""

    size: int
    uncompressed: int
    zstd: int | None
    is_exact: bool

    @property
    def ratio(self) -> float | None:
        """How many times as large it is inside; None for nothing."""
        return self.uncompressed / self.size if self.size else None

    @property
    def gain(self) -> float | None:
        """By which share of its size it would be smaller with zstd; below 0 where it would be larger."""
        return 1 - self.zstd / self.size if self.size and self.zstd is not None else None


@dataclass(frozen=True, slots=True)
class Inside:
    """A layer as it was found; `note` says what is wrong with it, and `figures` are None where that is too much."""

    compression: str | None
    figures: Figures | None = None
    note: str = ""


Reached = Callable[[int], None]
"""Is told how many layers are through."""


class Measuring:
    """Reads layers, some at once: all of each one, or else a sample that stands for it. `level` is that of zstd."""

    def __init__(self, client: RegistryClient, level: int, *, is_exact: bool) -> None:
        self._client = client
        self._level = level
        self._is_exact = is_exact

    async def measure(
        self, repository: Repository, layers: Iterable[Descriptor], reached: Reached
    ) -> dict[Digest, Inside]:
        """What each layer is inside, by its digest; what cannot be read is no error, but what is said of it."""
        found: dict[Digest, Inside] = {}

        async def measure(layer: Descriptor) -> None:
            found[layer.digest] = await self._measured(repository, layer)
            reached(len(found))

        await run_all(map(measure, {layer.digest: layer for layer in layers}.values()), _AT_ONCE)
        return found

    async def _measured(self, repository: Repository, layer: Descriptor) -> Inside:
        wanted = layer.size if self._is_exact else min(layer.size, SAMPLE)
        part = wanted if wanted < layer.size else None
        try:
            async with self._client.open_blob(repository, layer.digest, part) as blob:
                coming = _Coming(layer, blob.data, wanted)
                inside = await asyncio.to_thread(_inside, coming, self._level)
                if coming.failure:
                    raise coming.failure
                return inside
        except ContentMissingError:
            return Inside(_declared(layer), note="not there")
        except UpstreamError as error:
            return Inside(_declared(layer), note=str(error))


def total(layers: Iterable[Inside]) -> Figures:
    """What layers come to together, without those of which nothing is known."""
    known = [layer.figures for layer in layers if layer.figures]
    return Figures(
        sum(each.size for each in known),
        sum(each.uncompressed for each in known),
        sum(each.size if each.zstd is None else each.zstd for each in known),
        is_exact=all(each.is_exact for each in known),
    )


class _Coming(io.RawIOBase):
    """The first `wanted` bytes of a layer as a file for a thread; the loop receives them when that asks for more.

    Where it breaks off the file ends, and `failure` is why.
    """

    def __init__(self, layer: Descriptor, data: AsyncIterator[bytes], wanted: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._data = data
        self._piece = memoryview(b"")
        self.layer = layer
        self.wanted = wanted
        self.missing = wanted
        self.failure: Exception | None = None

    @property
    def is_sample(self) -> bool:
        """Whether there is more of the layer."""
        return self.wanted < self.layer.size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what `BufferedReader` hands it
        if not self._piece:
            self._piece = memoryview(asyncio.run_coroutine_threadsafe(self._next(), self._loop).result())
        given = self._piece[: len(buffer)]
        buffer[: len(given)] = given
        self._piece = self._piece[len(given) :]
        return len(given)

    async def _next(self) -> bytearray:
        """More of it, in pieces that are worth the way to the thread."""
        piece, size = bytearray(), min(self.missing, _PIECE)
        try:
            while len(piece) < size and (data := await anext(self._data, b"")):
                piece += data
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where the layer was asked for
            self.failure = error
        del piece[self.missing :]
        self.missing -= len(piece)
        return piece


def _inside(coming: _Coming, level: int) -> Inside:
    """What a layer is, as far as it comes."""
    file = io.BufferedReader(coming)
    how, declared = compression(file.peek(_MAGIC)[:_MAGIC]), _declared(coming.layer)
    odd = f"media type says {declared}" if declared not in {None, how} else ""
    try:
        return Inside(how, _figures(coming, _uncompressed(coming, file, how), how, level), odd)
    except BadLayerError as error:
        return Inside(how, note="; ".join(filter(None, (str(error), odd))))


def _figures(coming: _Coming, pieces: Iterable[bytes], how: str, level: int) -> Figures:
    """What the pieces of a layer come to; those of a sample stand for all of it. Raises BadLayerError."""
    zstd = None if how == "zstd" else Zstd(level, threads=0)
    most, inside = _MOST_TIMES * max(coming.wanted, SAMPLE), 0
    for piece in pieces:
        inside += len(piece)
        if inside > most:
            raise BadLayerError(f"more than {in_words(most)} inside")
        if zstd:
            zstd.add(piece)
    if zstd:
        zstd.end()
    size, times = coming.layer.size, coming.layer.size / coming.wanted if coming.is_sample else 1
    compressed = round(zstd.size * times) if zstd else None
    return Figures(size, round(inside * times), compressed, is_exact=not coming.is_sample)


def _uncompressed(coming: _Coming, file: BinaryIO, how: str) -> Iterator[bytes]:
    """The pieces of a layer; a sample may end anywhere."""
    try:
        yield from uncompressed(file, how)
    except CutOffError:
        if coming.missing or not coming.is_sample:
            raise
    if coming.missing:
        raise CutOffError(f"{how}: it is cut off")


def _declared(layer: Descriptor) -> str | None:
    """How a media type says that a layer is compressed, if it does; Docker's has a dot where OCI's has a plus."""
    return _DECLARED.get(layer.media_type.replace("+", ".").rpartition(".")[2])
