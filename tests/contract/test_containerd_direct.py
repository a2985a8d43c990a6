"""The direct way of blobs into containerd: what may come between two of its steps, and what is there already."""

import asyncio
from pathlib import Path

import pytest

from mirror.containerd.blobfiles import BlobFiles
from mirror.containerd.channel import Channel
from mirror.containerd.content import ContentStore
from mirror.containerd.direct import DirectImporter
from mirror.containerd.leases import LeaseManager
from mirror.containerd.spool import Spool
from mirror.containerd.spoolfile import CHUNK
from mirror.containerd.threads import Threads
from mirror.core.errors import StoreUnavailableError
from mirror.core.ports import Leases
from mirror.oci.names import Digest
from mirror.runtime.clock import SystemClock
from tests.contract.store import fresh, fresh_ref, held, load, store
from tests.rig.containerd import Containerd

SMALL, LARGE = 1000, 3 * CHUNK + 17
"""Of bytes that are in memory when they are committed, and of others that are in a file by then."""


def direct(channel: Channel, containerd: Containerd) -> DirectImporter:
    """The direct way of one process."""
    clock = SystemClock()
    spool = Spool(containerd.spool, Threads())
    spool.prepare()
    return DirectImporter(channel, clock, LeaseManager(channel, clock), containerd.store, spool)


@pytest.fixture
def importer(channel: Channel, containerd: Containerd) -> DirectImporter:
    return direct(channel, containerd)


@pytest.fixture
def content(channel: Channel, importer: DirectImporter) -> ContentStore:
    return ContentStore(channel, importer)


def blob(containerd: Containerd, digest: Digest) -> Path:
    """The file of a blob."""
    return containerd.store / "blobs/sha256" / digest.partition(":")[2]


class Collected:
    """Links a file into the store, and has the garbage collected after the first `times` that it does.

    containerd looks for files that are nobody's only where it has found garbage, so there is always some.
    """

    def __init__(self, containerd: Containerd, file: Path, digest: Digest, times: int) -> None:
        self.linked = 0
        self._containerd = containerd
        self._digest = digest
        self._times = times
        self._file = file

    async def __call__(self) -> None:
        """Link it once more."""
        await asyncio.to_thread(self._link)

    def _link(self) -> None:
        BlobFiles(self._containerd.store).link(self._file, self._digest)
        self.linked += 1
        if self.linked <= self._times:
            garbage = self._file.with_name("garbage")
            garbage.write_bytes(fresh()[0])
            with garbage.open("rb") as file:
                self._containerd.ctr("content", "ingest", fresh_ref(), stdin=file)
            self._containerd.collect_garbage()


async def test_collected_before_it_is_registered(
    containerd: Containerd, directory: Path, importer: DirectImporter, content: ContentStore, lease: str
) -> None:
    """It is linked again, and of the first try nothing is left."""
    data, digest = fresh()
    (directory / "data").write_bytes(data)
    place = Collected(containerd, directory / "data", digest, 2)
    await importer.adopt(digest, len(data), lease, place)
    assert place.linked == 3
    assert await load(content, digest) == data
    assert not [ref for ref in containerd.ingests() if "direct" in ref]


async def test_collected_each_time(
    containerd: Containerd, directory: Path, importer: DirectImporter, lease: str
) -> None:
    """That is given up some time, and said."""
    data, digest = fresh()
    (directory / "data").write_bytes(data)
    place = Collected(containerd, directory / "data", digest, 99)
    with pytest.raises(StoreUnavailableError, match="collected 10 times"):
        await importer.adopt(digest, len(data), lease, place)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_a_file_that_nobody_vouches_for(
    containerd: Containerd, content: ContentStore, size: int, lease: str
) -> None:
    """A torn file of the right size, as a power cut leaves, is not believed: the bytes that were pushed are served."""
    data, digest = fresh(size)
    await store(content, fresh()[0], lease)  # the first blob makes the directory
    blob(containerd, digest).write_bytes(bytes(size))
    await store(content, data, lease)
    assert await load(content, digest) == data


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_a_damaged_blob(containerd: Containerd, content: ContentStore, size: int, lease: str) -> None:
    """A push of it mends it."""
    data, digest = fresh(size)
    await store(content, data, lease)
    blob(containerd, digest).chmod(0o600)
    containerd.damage(digest)
    await store(content, data, lease)
    assert await load(content, digest) == data


async def test_it_looks_like_others(containerd: Containerd, content: ContentStore, lease: str) -> None:
    """Whatever the umask of the daemon, containerd's clients can read a blob, and nobody can write to it."""
    for size in (SMALL, LARGE):
        digest = await store(content, fresh(size)[0], lease)
        assert blob(containerd, digest).stat().st_mode & 0o777 == 0o444
    assert containerd.spool.stat().st_mode & 0o777 == 0o700
    assert not list(containerd.spool.iterdir())


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_two_pushes_of_one_digest(
    channel: Channel, content: ContentStore, leases: Leases, size: int, lease: str
) -> None:
    """Both succeed, and each lease holds the one blob."""
    data, digest = fresh(size)
    await leases.create(f"{lease}/other")
    await asyncio.gather(store(content, data, lease), store(content, data, f"{lease}/other"))
    assert await load(content, digest) == data
    for holder in (lease, f"{lease}/other"):
        assert ("content", digest) in await held(channel, holder)


async def test_what_others_brought_in_the_very_moment(
    channel: Channel, content: ContentStore, importer: DirectImporter, leases: Leases, lease: str
) -> None:
    """It may be said to exist, and not be leased: then we do, and look whether it is still there."""
    await leases.create(f"{lease}/other")
    digest = await store(content, fresh()[0], f"{lease}/other")
    assert await importer._hold(digest, lease)
    assert ("content", digest) in await held(channel, lease)
    assert not await importer._hold(fresh()[1], lease)


async def test_a_commit_that_nobody_answers(
    channel: Channel, containerd: Containerd, content: ContentStore, importer: DirectImporter, lease: str
) -> None:
    """The file may be a blob by then: the upload keeps its bytes, and further ones never get into the blob."""
    data, digest = fresh(LARGE)
    ref = fresh_ref()
    ingest = await content.ingest(ref, lease)
    await ingest.write(data)
    channel.suspend("it hangs")
    with pytest.raises(StoreUnavailableError, match="it hangs"):
        await ingest.commit(digest)
    channel.resume()
    assert blob(containerd, digest).read_bytes() == data
    again = await content.ingest(ref, lease)
    assert again.offset == len(data)
    await again.write(bytes(CHUNK))
    await again.flush()
    assert blob(containerd, digest).read_bytes() == data
    await again.close()
    assert await importer.offset(ref) == len(data) + CHUNK


async def test_the_next_process_goes_on(
    channel: Channel, containerd: Containerd, content: ContentStore, lease: str
) -> None:
    """Another spool on the same directory has what was written, and what had been linked as well."""
    data, digest = fresh(LARGE)
    ref = fresh_ref()
    first = await content.ingest(ref, lease)
    await first.write(data[: 2 * CHUNK])
    await first.flush()
    second = await ContentStore(channel, direct(channel, containerd)).ingest(ref, lease)
    assert second.offset == 2 * CHUNK
    await second.write(data[2 * CHUNK :])
    await second.flush()
    BlobFiles(containerd.store).link(next(containerd.spool.iterdir()), digest)
    third = await ContentStore(channel, direct(channel, containerd)).ingest(ref, lease)
    await third.commit(digest)
    assert await load(content, digest) == data


async def test_a_file_that_is_taken_away(containerd: Containerd, content: ContentStore, lease: str) -> None:
    """What was hashed is not in a file any more: the next bytes do not make one with a hole in it."""
    data, digest = fresh(LARGE)
    ref = fresh_ref()
    first = await content.ingest(ref, lease)
    await first.write(data[:CHUNK])
    await first.close()
    second = await content.ingest(ref, lease)
    for file in containerd.spool.iterdir():
        file.unlink()
    await second.write(data[CHUNK : CHUNK + 1])
    with pytest.raises(StoreUnavailableError, match="No such file"):
        await second.commit(digest)
    assert await content.size(digest) is None


async def test_a_spool_that_is_taken_away(containerd: Containerd, content: ContentStore, lease: str) -> None:
    """Uploads that begin after that make it again."""
    for size in (SMALL, LARGE):
        containerd.spool.rmdir()
        await store(content, fresh(size)[0], lease)


async def test_a_cancelled_writer(content: ContentStore, lease: str) -> None:
    """A write that is cancelled half-way leaves an upload that can be closed, and gone on with where its file ends."""
    data, digest = fresh(8 * CHUNK)
    ingest = await content.ingest(ref := fresh_ref(), lease)
    await ingest.write(data[: 2 * CHUNK])
    await ingest.write(data[2 * CHUNK : 4 * CHUNK])
    writing = asyncio.ensure_future(ingest.write(data[4 * CHUNK : 6 * CHUNK]))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await ingest.close()
    again = await content.ingest(ref, lease)
    assert again.offset in {4 * CHUNK, 6 * CHUNK}
    await again.write(data[again.offset :])
    await again.commit(digest)
    assert await load(content, digest) == data
