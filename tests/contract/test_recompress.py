"""Layers that are compressed anew, by the real process: what comes out, and what becomes of those that are bad."""

import gzip
import os
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from io import BytesIO

import psutil
import pytest
import zstandard

from mirror.core.errors import BadLayerError, ContentMissingError, RecompressionError
from mirror.core.ports import Content, Recompressed
from mirror.oci.manifest import Descriptor
from mirror.oci.names import digest_of
from mirror.recompress.codecs import Zstd, compression, uncompressed
from mirror.recompress.process import ProcessRecompressor
from tests.contract.store import EMPTY, store

NOISE = random.Random(0).randbytes(8 << 20)  # noqa: S311 - it must repeat itself
INSIDE = NOISE[: 1 << 20] + bytes(3 << 20) + b"some text " * 100_000
DIFF_ID = digest_of(INSIDE)
GZIP = gzip.compress(INSIDE)
ZSTD = zstandard.compress(INSIDE)
SKIPPABLE = b"\x50\x2a\x4d\x18\x03\0\0\0abc"
MIB = 1 << 20


@pytest.fixture(params=["file", "bytes"])
def readable(content: Content, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Content:
    """Content of which the process reads the file; or of which nobody can see the files, and it is handed the bytes."""

    async def none(*_: object) -> None:
        """There is none."""

    if request.param == "bytes":
        monkeypatch.setattr(content, "file", none)
    return content


async def recompress(
    content: Content, layer: Descriptor, diff_id: str = DIFF_ID, level: int = 3, threads: int = 2
) -> tuple[bytes, Recompressed]:
    """All that is made of a layer, and what is said of it."""
    async with ProcessRecompressor(content, threads).recompress(layer, diff_id, level) as under_way:
        data = b"".join([piece async for piece in under_way.pieces()])
        return data, under_way.made


async def stored(content: Content, data: bytes, lease: str) -> Descriptor:
    """A blob as a layer."""
    return Descriptor(digest=await store(content, data, lease), size=len(data))


def processes() -> list[psutil.Process]:
    """Those that compress something."""
    return [child for child in psutil.Process().children() if "mirror.recompress.program" in child.cmdline()]


def inside(data: bytes, how: str) -> bytes:
    """What is in a layer."""
    return b"".join(uncompressed(BytesIO(data), how))


async def test_a_layer(readable: Content, lease: str) -> None:
    """The same is in it, and what is said of it is true."""
    layer = await stored(readable, GZIP, lease)
    data, made = await recompress(readable, layer)
    assert inside(data, "zstd") == INSIDE
    assert made == Recompressed(digest_of(data), len(data), len(INSIDE))
    assert len(data) < len(GZIP)


async def test_several_members(content: Content, lease: str) -> None:
    """As in layers that can be read from the middle."""
    layer = await stored(content, gzip.compress(INSIDE[:MIB]) + gzip.compress(INSIDE[MIB:]), lease)
    assert inside((await recompress(content, layer))[0], "zstd") == INSIDE


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (GZIP[:-20], "cut off"),
        (GZIP[:-8] + bytes(8), "CRC"),
        (GZIP[:5000] + bytes(8) + GZIP[5008:], "gzip: "),
        (GZIP + b"garbage", "cut off"),
        (INSIDE, "Not a gzipped file"),
        (gzip.compress(INSIDE[1:]), "its config says"),
        (gzip.compress(bytes(200 * MIB)), "more than 67108864 bytes inside"),
    ],
    ids=["truncated", "wrong checksum", "corrupt", "more than gzip", "no gzip", "wrong diff ID", "bomb"],
)
async def test_a_bad_layer(readable: Content, lease: str, data: bytes, reason: str) -> None:
    """It is named, and its process is gone."""
    layer = await stored(readable, data, lease)
    with pytest.raises(BadLayerError, match=reason):
        await recompress(readable, layer)
    assert not processes()


async def test_nothing_there(content: Content) -> None:
    """Content that is gone is not said to be bad."""
    with pytest.raises(ContentMissingError):
        await recompress(content, Descriptor(digest=EMPTY, size=10))


async def test_its_process(content: Content, lease: str) -> None:
    """It takes what nobody else wants, waits for whoever does not read, and ends with the context or before it."""
    layer = await stored(content, gzip.compress(NOISE), lease)
    recompressor = ProcessRecompressor(content, 1)
    async with recompressor.recompress(layer, DIFF_ID, 1) as under_way, aclosing(_of(under_way.pieces())) as pieces:
        assert await anext(pieces)
        (process,) = processes()
        assert process.nice() == 19
        assert process.ionice().ioclass in {psutil.IOPRIO_CLASS_NONE, psutil.IOPRIO_CLASS_IDLE}
        assert os.sched_getscheduler(process.pid) == os.SCHED_IDLE
    assert not process.is_running()
    async with recompressor.recompress(layer, DIFF_ID, 1) as under_way:
        (process,) = processes()
        process.kill()
        with pytest.raises(RecompressionError, match="ended with -9"):
            _ = [piece async for piece in under_way.pieces()]


def _of(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    assert isinstance(pieces, AsyncGenerator)
    return pieces


@pytest.mark.parametrize("level", [1, 3, 9, 19])
@pytest.mark.parametrize("size", [0, 2 * MIB, 4 * MIB, len(INSIDE)])
def test_what_is_made(level: int, size: int) -> None:
    """It is the same with any number of threads and pieces, also where the end falls on that of a thread's share."""

    def made(threads: int, piece: int) -> bytes:
        zstd = Zstd(level, threads)
        data = b"".join(zstd.add(INSIDE[start : min(start + piece, size)]) for start in range(0, size, piece))
        data += zstd.end()
        assert (zstd.digest, zstd.size) == (digest_of(data), len(data))
        return data

    one, *others = (made(threads, piece) for threads in (1, 2, 4) for piece in (MIB, 100_000, MIB))
    assert inside(one, "zstd") == INSIDE[:size]
    assert set(others) == {one}


@pytest.mark.parametrize(
    ("data", "how", "result"),
    [
        (ZSTD + SKIPPABLE + ZSTD, "zstd", 2 * INSIDE),
        (SKIPPABLE + ZSTD + SKIPPABLE, "zstd", INSIDE),
        (GZIP + GZIP, "gzip", 2 * INSIDE),
        (INSIDE, "none", INSIDE),
        (b"", "none", b""),
    ],
    ids=["frames", "skippable frames", "members", "none", "empty"],
)
def test_what_is_inside(data: bytes, how: str, result: bytes) -> None:
    """All frames and members count; the first bytes tell which."""
    assert compression(data[:4]) == how
    assert inside(data, how) == result


@pytest.mark.parametrize("data", [ZSTD[:-3], ZSTD[:1000], ZSTD + b"garbage", ZSTD + SKIPPABLE[:-1], b"no zstd"])
def test_what_is_no_zstd(data: bytes) -> None:
    """A frame that is cut off is not taken for a whole one."""
    with pytest.raises(BadLayerError, match="zstd: "):
        inside(data, "zstd")
