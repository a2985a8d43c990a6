"""Layers as they are inside, and as zstd has them. Both sides stream: no more of a layer is in memory than a piece."""

import hashlib
import zlib
from collections.abc import Iterator
from typing import IO, BinaryIO

import zstandard
from isal import igzip, isal_zlib

from mirror.core.errors import BadLayerError

PIECE = 1 << 20
"""Bytes that are read, and compressed, at once."""

LEVELS = range(1, 20)
"""The levels of zstd whose frames every reader takes: those above want more memory than readers grant."""

_ISAL: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its types say that it is one, not a type
_SMALL = 512  # what it holds may be thirty thousand times as large
_READ = 1 << 14  # what is uncompressed of the last ones is lost where a layer is cut off
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)


class CutOffError(BadLayerError):
    """A layer ends too early; but for some KiB, what was in it until there has been read."""


def compression(head: bytes) -> str:
    """How a layer that begins with these four bytes is compressed: `gzip`, `zstd` or, where neither can be, `none`.

    Source: RFC 1952, 2.3.1; RFC 8878, 3.1.1 and 3.1.2.
    """
    if head.startswith(_GZIP):
        return "gzip"
    return "zstd" if head.startswith(_ZSTD) or int.from_bytes(head[:4], "little") in _SKIPPABLE else "none"


def uncompressed(source: BinaryIO, how: str) -> Iterator[bytes]:
    """A layer as it is inside, piece by piece; of gzip and zstd all members and frames.

    Raises:
        BadLayerError: it is damaged, or not compressed as it should be; CutOffError: it ends too early.
    """
    try:
        yield from {"gzip": _gunzipped, "zstd": _unzstd, "none": _pieces}[how](source)
    except EOFError as error:
        raise CutOffError(f"{how}: it is cut off") from error
    except (OSError, zlib.error, _ISAL, zstandard.ZstdError) as error:
        raise BadLayerError(f"{how}: {error}") from error


def _pieces(source: IO[bytes], size: int = PIECE) -> Iterator[bytes]:
    while piece := source.read(size):
        yield piece


def _gunzipped(source: BinaryIO) -> Iterator[bytes]:
    reader: IO[bytes] = igzip.open(source, "rb")  # type: ignore[no-untyped-call]  # it is left out of its types
    return _pieces(reader, _READ)


def _unzstd(source: BinaryIO) -> Iterator[bytes]:
    """Frame by frame, as what reads across them does not tell when the last one is cut off."""
    context = zstandard.ZstdDecompressor()
    frame, is_begun = context.decompressobj(), False
    for piece in _pieces(source, _SMALL):
        left = piece
        while left:
            yield frame.decompress(left)
            left, is_begun = frame.unused_data, not frame.eof
            if frame.eof:
                frame = context.decompressobj()
    if is_begun:
        raise EOFError


class Zstd:
    """Compresses to one frame of zstd; what that is does not depend on the number of threads (1 or more).

    With 0 it is done where it is called, at once and with the least memory, to a frame that may be a percent smaller.

    `digest` and `size` are those of what was made so far.
    """

    def __init__(self, level: int, threads: int) -> None:
        self._compressor = zstandard.ZstdCompressor(level=level, threads=threads, write_checksum=True).compressobj()
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        """What was made, by its digest."""
        return f"sha256:{self._hash.hexdigest()}"

    def add(self, piece: bytes) -> bytes:
        """Compress a piece; what comes out may be nothing yet."""
        return self._made(self._compressor.compress(piece))

    def end(self) -> bytes:
        """All that is left of the frame.

        Its last block is always one of its own: else that would depend on how fast the threads are, where the bytes
        fill their shares exactly.
        """
        return self._made(self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) + self._compressor.flush())

    def _made(self, made: bytes) -> bytes:
        self._hash.update(made)
        self.size += len(made)
        return made
