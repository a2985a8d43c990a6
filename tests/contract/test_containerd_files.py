"""Reading content from the files of the store, and over gRPC what they do not give."""

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from threading import Event

import psutil
import pytest

from mirror.containerd.channel import Channel
from mirror.containerd.content import ContentStore
from mirror.containerd.files import PIECE, ContentFiles
from mirror.containerd.stream import StreamImporter
from mirror.core.errors import ContentMissingError
from mirror.core.ports import Content, Leases
from mirror.oci.names import Digest
from mirror.runtime.clock import SystemClock
from tests.contract.store import fresh, load, store
from tests.contract.witness import Witness
from tests.rig.containerd import Containerd

SIZE = 3 * PIECE + 17

Over = Callable[[Path | None], ContentStore]


@pytest.fixture
def over(channel: Channel) -> Over:
    """A content store whose files are in some directory, or nobody knows where."""
    return lambda root: ContentStore(channel, StreamImporter(channel, SystemClock()), files=ContentFiles(root))


@pytest.fixture
def files(over: Over, containerd: Containerd) -> ContentStore:
    """One that reads from its files."""
    return over(containerd.store)


def opened(containerd: Containerd) -> list[str]:
    """The files of the store that we have open."""
    files = psutil.Process().open_files()
    return [file.path for file in files if Path(file.path).is_relative_to(containerd.store)]


async def read(content: Content, digest: Digest, offset: int = 0, length: int = 0, *, size: int | None = None) -> bytes:
    return b"".join([data async for data in content.read(digest, offset, length, size=size)])


async def begun(content: Content, digest: Digest) -> tuple[AsyncGenerator[bytes], bytes]:
    """Begin to read; the reader, and its first piece."""
    reader = content.read(digest)
    assert isinstance(reader, AsyncGenerator)
    return reader, await anext(reader)


async def test_the_open_file(content: Content, lease: str) -> None:
    """It is at its beginning, and has the bytes of the blob."""
    data, digest = fresh(SIZE)
    await store(content, data, lease)
    file = await content.file(digest, SIZE)
    assert file is not None
    with file:
        assert file.read() == data


async def test_it_outlives_the_blob(content: Content, witness: Witness, leases: Leases, lease: str) -> None:
    """Who has opened it reads on when the blob is collected; it cannot be opened again."""
    data, digest = fresh()
    await store(content, data, lease)
    file = await content.file(digest, len(data))
    assert file is not None
    with file:
        await leases.delete(lease)
        await witness.collect_garbage()
        assert await content.file(digest, len(data)) is None
        assert file.read() == data


async def test_no_file_to_be_had(content: Content, lease: str) -> None:
    """Of what the store does not have, and of what has another size than the store says."""
    data, digest = fresh()
    assert await content.file(digest, len(data)) is None
    await store(content, data, lease)
    assert await content.file(digest, len(data) + 1) is None


@pytest.mark.parametrize("root", ["store", "elsewhere", "unknown"])
async def test_the_same_by_either_way(
    over: Over, containerd: Containerd, directory: Path, lease: str, root: str
) -> None:
    """Any part, whether its size is known or not: from the files, and where they are not where containerd says."""
    content = over({"store": containerd.store, "elsewhere": directory, "unknown": None}[root])
    data, digest = fresh(SIZE)
    await store(content, data, lease)
    for offset, length in product([0, 5, 2 * PIECE, SIZE - 1, SIZE], [0, 1, PIECE, PIECE + 1, 2 * SIZE]):
        wanted = data[offset : offset + length] if length else data[offset:]
        assert await read(content, digest, offset, length) == wanted
        assert await read(content, digest, offset, length, size=SIZE) == wanted


@pytest.mark.parametrize("size", [100, SIZE])
async def test_containerd_does_not_read_it(files: ContentStore, containerd: Containerd, lease: str, size: int) -> None:
    """Once it has said how large the blob is, it has no part in the reading."""
    data, digest = fresh(size)
    await store(files, data, lease)
    containerd.pause()
    try:
        assert await read(files, digest, size=size) == data
    finally:
        containerd.resume()


async def test_a_file_that_is_gone(files: ContentStore, containerd: Containerd, lease: str) -> None:
    """Content whose file somebody removed is missing; who has begun reads it to its end."""
    data, digest = fresh(SIZE)
    await store(files, data, lease)
    reader, first = await begun(files, digest)
    containerd.blob(digest).unlink()
    assert first + b"".join([piece async for piece in reader]) == data
    with pytest.raises(ContentMissingError):
        await load(files, digest)


@pytest.mark.parametrize("cut", [PIECE, PIECE + 5])
async def test_a_file_that_is_cut(files: ContentStore, containerd: Containerd, lease: str, cut: int) -> None:
    """What is still there is read, and nothing else in the place of the rest; in the middle of reading, too."""
    data, digest = fresh(SIZE)
    await store(files, data, lease)
    reader, first = await begun(files, digest)
    os.truncate(containerd.blob(digest), cut)
    assert first + b"".join([piece async for piece in reader]) == data[:cut]
    assert await load(files, digest) == data[:cut]


async def test_the_rest_comes_from_containerd(over: Over, containerd: Containerd, directory: Path, lease: str) -> None:
    """What a file stops giving in the middle is asked for, and no more than was wanted."""
    content = over(directory)
    data, digest = fresh(SIZE)
    await store(content, data, lease)
    ours = directory / "blobs" / digest.replace(":", "/")
    ours.parent.mkdir(parents=True)
    shutil.copy(containerd.blob(digest), ours)
    reader = content.read(digest, 5, 2 * PIECE + 5)
    first = await anext(reader)
    os.truncate(ours, PIECE + 50)
    assert first + b"".join([piece async for piece in reader]) == data[5 : 2 * PIECE + 10]


async def test_who_stops_early(files: ContentStore, containerd: Containerd, lease: str) -> None:
    """The file is open while it is read, and closed with the reader."""
    data, digest = fresh(SIZE)
    await store(files, data, lease)
    reader, _ = await begun(files, digest)
    assert opened(containerd) == [str(containerd.blob(digest))]
    await reader.aclose()
    assert not opened(containerd)


async def test_who_is_cancelled_while_it_opens(files: ContentStore, containerd: Containerd, lease: str) -> None:
    """The file that is opened for nobody is closed."""
    data, digest = fresh()
    await store(files, data, lease)
    loop, go = asyncio.get_running_loop(), Event()
    loop.set_default_executor(ThreadPoolExecutor(1))
    loop.run_in_executor(None, go.wait)
    opening = asyncio.ensure_future(files.file(digest, len(data)))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    go.set()
    await loop.run_in_executor(None, int)  # after it, as there is but one thread
    assert not opened(containerd)
