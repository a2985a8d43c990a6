"""Content and Ingest, on a real containerd and on the double."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

import pytest

from mirror.containerd.channel import Channel
from mirror.containerd.ingest import MESSAGE, WINDOW, Patience
from mirror.containerd.stream import StreamImporter
from mirror.core.errors import ContentMissingError, DigestMismatchError, StoreUnavailableError
from mirror.core.ports import Content, Ingest, Leases
from mirror.oci.names import Digest, digest_of
from mirror.runtime.clock import SystemClock
from tests.contract.rooms import Rooms, streamed
from tests.contract.store import EMPTY, fresh, fresh_ref, load, store
from tests.contract.witness import Witness
from tests.rig.containerd import Containerd

IMPATIENT = Patience(message=0.5, whole=0.5)


class LeapingClock(SystemClock):
    """Each sleep takes no time, and counts for two seconds."""

    elapsed = 0.0

    def monotonic(self) -> float:
        return self.elapsed

    async def sleep(self, seconds: float) -> None:
        self.elapsed += max(seconds, 2)


class WitnessedClock(SystemClock):
    """Tells that somebody waits."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asked.set()
        await super().sleep(seconds)


@contextmanager
def paused(containerd: Containerd) -> Iterator[None]:
    """Let containerd hang for a while."""
    containerd.pause()
    try:
        yield
    finally:
        containerd.resume()


async def test_a_blob_is_read_as_it_was_written(content: Content, lease: str) -> None:
    """Bytes in chunks of odd sizes, over several messages, come back unchanged, with their size."""
    data, digest = fresh(3 * MESSAGE + 17)
    ingest = await content.ingest(fresh_ref(), lease)
    for start in range(0, len(data), 70_001):
        await ingest.write(data[start : start + 70_001])
    assert ingest.offset == len(data)
    await ingest.commit(digest)
    assert await content.size(digest) == len(data)
    assert await load(content, digest) == data


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 1), (5, MESSAGE), (2 * MESSAGE, 0), (3 * MESSAGE - 1, 1), (3 * MESSAGE, 0)]
)
async def test_a_part_of_a_blob(content: Content, lease: str, offset: int, length: int) -> None:
    """Exactly the bytes that were asked for; without a length, all from the offset on."""
    data, digest = fresh(3 * MESSAGE)
    ingest = await content.ingest(fresh_ref(), lease)
    await ingest.write(data)
    await ingest.commit(digest)
    part = b"".join([chunk async for chunk in content.read(digest, offset, length)])
    assert part == data[offset : offset + length if length else None]


async def test_an_empty_blob(content: Content, lease: str) -> None:
    """Zero bytes are content as well, also the second time."""
    for _ in range(2):
        ingest = await content.ingest(fresh_ref(), lease)
        await ingest.commit(EMPTY)
    assert await content.size(EMPTY) == 0
    assert await load(content, EMPTY) == b""


async def test_what_is_not_there(content: Content) -> None:
    """Missing content has no size and cannot be read; aborting a missing ingest is no error."""
    _, digest = fresh()
    assert await content.size(digest) is None
    assert await content.ingested(fresh_ref()) is None
    await content.abort(fresh_ref())
    with pytest.raises(ContentMissingError):
        await load(content, digest)


async def test_other_bytes_than_promised(witness: Witness, content: Content, lease: str) -> None:
    """A mismatch stores nothing under either digest, and after the abort no ingest is left."""
    data, digest = fresh()
    _, promised = fresh()
    ref = fresh_ref()
    ingest = await content.ingest(ref, lease)
    await ingest.write(data)
    with pytest.raises(DigestMismatchError, match=digest):
        await ingest.commit(promised)
    await content.abort(ref)
    assert ref not in await witness.ingests()
    assert await content.size(promised) is None
    assert await content.size(digest) is None


@pytest.mark.parametrize("sent", [b"", b"something else"])
async def test_a_stored_digest_cannot_be_claimed(witness: Witness, content: Content, lease: str, sent: bytes) -> None:
    """Who promises a digest that the store has, but does not send its bytes, is refused like any other liar."""
    known = await store(content, fresh()[0], lease)
    ref = fresh_ref()
    ingest = await content.ingest(ref, lease)
    await ingest.write(sent)
    with pytest.raises(DigestMismatchError):
        await ingest.commit(known)
    await content.abort(ref)
    assert ref not in await witness.ingests()


async def test_going_on_after_close(content: Content, lease: str) -> None:
    """A closed ingest keeps what was acknowledged, says how much that is, and is continued from there."""
    data, digest = fresh(2 * MESSAGE)
    ref = fresh_ref()
    first = await content.ingest(ref, lease)
    await first.write(data[:1234])
    await first.flush()
    await first.close()
    await first.close()
    assert await content.ingested(ref) == 1234
    second = await content.ingest(ref, lease)
    assert second.offset == 1234
    await second.write(data[1234:])
    await second.commit(digest)
    assert await load(content, digest) == data
    assert await content.ingested(ref) is None


async def test_a_closed_ingest_takes_no_more(content: Content, lease: str) -> None:
    """Writing on after close is an ordinary error, and no CancelledError that would end the task."""
    ingest = await content.ingest(fresh_ref(), lease)
    await ingest.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        await ingest.write(bytes(MESSAGE))


async def test_a_ref_that_stays_locked(witness: Witness, rooms: Rooms, content: Content, lease: str) -> None:
    """A second writer of a ref is refused after some seconds of its clock, and the first is not disturbed."""
    data, digest = fresh()
    ref = fresh_ref()
    first = await content.ingest(ref, lease)
    clock = LeapingClock()
    with pytest.raises(StoreUnavailableError, match=ref):
        await rooms.content(clock).ingest(ref, lease)
    assert clock.elapsed == 6
    await first.write(data)
    await first.commit(digest)
    assert digest in await witness.contents()


async def test_a_ref_that_is_let_go(rooms: Rooms, lease: str) -> None:
    """Who opens a ref while it is locked waits, and gets it as soon as the other stream ends."""
    ref, clock = fresh_ref(), WitnessedClock()
    content = rooms.content(clock)
    first = await content.ingest(ref, lease)
    second = asyncio.ensure_future(content.ingest(ref, lease))
    await clock.asked.wait()
    assert not second.done()
    await first.close()
    await (await second).close()


async def test_content_that_is_there_already_is_held_by_the_new_lease(
    witness: Witness, content: Content, leases: Leases, lease: str
) -> None:
    """The commit of a digest that the store has is no error, and its lease alone keeps the content."""
    data, digest = fresh()
    await leases.create(f"{lease}/other")
    await store(content, data, f"{lease}/other")
    await store(content, data, lease)
    assert await witness.held(lease) == {("content", digest)}
    await leases.delete(f"{lease}/other")
    await witness.collect_garbage()
    assert digest in await witness.contents()


async def test_content_that_nothing_holds_is_collected(
    witness: Witness, content: Content, leases: Leases, lease: str
) -> None:
    """The end of its lease is the end of content that nothing refers to: what the other tests rely on."""
    digest = await store(content, fresh()[0], lease)
    await leases.delete(lease)
    await witness.collect_garbage()
    assert digest not in await witness.contents()


async def test_a_lease_that_is_gone(part: str, content: Content, lease: str, leases: Leases) -> None:
    """`ctr leases rm` during an upload is told apart from nothing else: the ingest cannot be opened, and says why.

    The direct way asks containerd for nothing before the commit, which is refused in the same words.
    """
    await leases.delete(lease)
    opened: list[Ingest] = []

    async def push() -> None:
        opened.append(await content.ingest(fresh_ref(), lease))
        await opened[0].commit(EMPTY)

    with pytest.raises(StoreUnavailableError, match="lease"):
        await push()
    assert bool(opened) == (part == "direct")


async def test_a_reader_may_stop_early(content: Content, lease: str) -> None:
    """Closing the generator ends the call, after which the channel goes on working."""
    data, digest = fresh(8 * 1024 * 1024)
    await store(content, data, lease)
    chunks = content.read(digest)
    assert data.startswith(await anext(chunks))
    assert isinstance(chunks, AsyncGenerator)
    await chunks.aclose()
    assert await content.size(digest) == len(data)


class TestManifests:
    async def test_a_new_one(self, witness: Witness, content: Content, leases: Leases, lease: str) -> None:
        """Its labels keep its children alive when only the manifest itself is held."""
        child = await store(content, fresh()[0], lease)
        data, digest = fresh()
        await leases.create(f"{lease}/job")
        await content.put(data, digest, f"{lease}/job", {"config": child})
        await leases.delete(lease)
        await witness.collect_garbage()
        assert {child, digest} <= await witness.contents()
        assert await load(content, digest) == data
        assert await content.references(digest) == {child}
        assert await content.references(child) == set()

    async def test_one_that_is_there(self, witness: Witness, content: Content, leases: Leases, lease: str) -> None:
        """It gets the labels and the lease too; the labels of others stay, dots in their keys included."""
        data, digest = fresh()
        child = await store(content, fresh()[0], lease)
        await store(content, data, lease)
        await witness.label_content(digest, "example.com/of.others", "kept")
        await leases.create(f"{lease}/job")
        await content.put(data, digest, f"{lease}/job", {"l.0": child})
        assert ("content", digest) in await witness.held(f"{lease}/job")
        assert await witness.content_labels(digest) == {
            "containerd.io/gc.ref.content.l.0": child,
            "example.com/of.others": "kept",
        }
        assert await content.references(digest) == {child}

    async def test_without_children(self, witness: Witness, content: Content, lease: str) -> None:
        """An index whose images are all elsewhere has no labels to set, be it new or known."""
        data, digest = fresh()
        for _ in range(2):
            await content.put(data, digest, lease, {})
        assert await witness.content_labels(digest) == {}

    async def test_with_a_wrong_digest(self, witness: Witness, content: Content, lease: str) -> None:
        """It is refused before anything is sent."""
        data, digest = fresh()
        before = await witness.ingests()
        with pytest.raises(DigestMismatchError):
            await content.put(data, EMPTY, lease, {})
        assert await content.size(digest) is None
        assert await witness.ingests() <= before


class TestOutages:
    """Those that hang need a process that can, so they are of the real one alone."""

    async def test_kill_and_restart(self, part: str, witness: Witness, content: Content, lease: str) -> None:
        """Acknowledged bytes survive kill -9; the same objects fail fast meanwhile and go on after the restart.

        On the direct way only the commit fails, and keeps all that was written to it.
        """
        data, digest = fresh(2 * MESSAGE)
        ref = fresh_ref()
        ingest = await content.ingest(ref, lease)
        await ingest.write(data[:MESSAGE])
        await ingest.flush()
        await witness.kill()
        with pytest.raises(StoreUnavailableError):
            await _finish(ingest, data, digest)
        with pytest.raises(StoreUnavailableError, match="UNAVAILABLE"):  # which nobody had to wait for
            await content.size(digest)
        with pytest.raises(StoreUnavailableError):
            await _finish(await content.ingest(ref, lease), data, digest)
        with pytest.raises(StoreUnavailableError, match="UNAVAILABLE"):
            await load(content, digest)
        await witness.start()
        again = await _reopened(content, ref, lease)
        assert again.offset == (len(data) if part == "direct" else MESSAGE)
        await _finish(again, data, digest)
        assert await load(content, digest) == data

    async def test_memory_stays_flat(self, containerd: Containerd, channel: Channel, lease: str) -> None:
        """While containerd hangs, no more is accepted than the window; then nothing is lost."""
        content = streamed(channel)
        ingest = await content.ingest(ref := fresh_ref(), lease)
        chunk = bytes(MESSAGE)
        with paused(containerd):
            accepted = await _accepted_within(ingest, chunk, seconds=1.0)
        assert accepted <= (WINDOW + 1) * MESSAGE
        await ingest.close()
        again = await content.ingest(ref, lease)
        assert again.offset <= accepted + MESSAGE  # the write that was given up may have arrived all the same
        size = max(accepted, again.offset)
        await again.write(bytes(size - again.offset))
        await again.commit(Digest("sha256:" + hashlib.sha256(bytes(size)).hexdigest()))

    async def test_a_hanging_containerd(self, containerd: Containerd, channel: Channel, lease: str) -> None:
        """Every step of an ingest gives up when its patience ends, and the ref can be had again afterwards."""
        patient, content = streamed(channel), streamed(channel, IMPATIENT)
        data, digest = fresh(100)
        ingest = await StreamImporter(channel, SystemClock()).open(ref := fresh_ref(), lease)
        await ingest.write(data)
        ingest._patience = IMPATIENT  # all that it did until here may take its time
        with paused(containerd):
            with pytest.raises(StoreUnavailableError, match="in time"):
                await ingest.commit(digest)
            with pytest.raises(StoreUnavailableError, match="in time"):
                await content.ingest(fresh_ref(), lease)
            with pytest.raises(StoreUnavailableError, match="in time"):
                await load(content, digest)
        again = await patient.ingest(ref, lease)
        await _finish(again, data, digest)
        assert digest_of(await load(patient, digest)) == digest

    async def test_a_cancelled_writer(self, content: Content, containerd: Containerd, lease: str) -> None:
        """A write that is cancelled half-way leaves an ingest that can be closed and opened again."""
        ingest = await content.ingest(ref := fresh_ref(), lease)
        with paused(containerd):
            await _accepted_within(ingest, bytes(MESSAGE), seconds=0.3)
        await ingest.close()
        again = await content.ingest(ref, lease)
        assert again.offset % MESSAGE == 0
        await again.close()


async def _accepted_within(ingest: Ingest, chunk: bytes, *, seconds: float) -> int:
    """Write for some time; the bytes of all the writes that returned."""
    accepted = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                await ingest.write(chunk)
                accepted += len(chunk)
    except TimeoutError:
        return accepted


async def _finish(ingest: Ingest, data: bytes, digest: Digest) -> None:
    """Write what is missing of `data`, and commit."""
    await ingest.write(data[ingest.offset :])
    await ingest.commit(digest)


async def _reopened(content: Content, ref: str, lease: str) -> Ingest:
    """Open an ingest as soon as containerd can be reached again."""
    async with asyncio.timeout(60):
        while True:
            try:
                await content.size(EMPTY)
                return await content.ingest(ref, lease)
            except StoreUnavailableError:
                await asyncio.sleep(0.02)


async def test_all_there_is(content: Content, lease: str) -> None:
    """The list has what was written, with its size and time, and nothing that is not finished or was deleted."""
    began = SystemClock().now()
    kept, deleted = await store(content, fresh(123)[0], lease), await store(content, fresh()[0], lease)
    ref = fresh_ref()
    ingest = await content.ingest(ref, lease)
    await ingest.write(fresh()[0])
    await ingest.flush()
    await ingest.close()
    await content.delete(deleted)
    await content.delete(deleted)
    listed = {blob.digest: blob async for blob in content.list()}
    assert deleted not in listed
    assert listed[kept].size == 123
    assert began <= listed[kept].created <= SystemClock().now()
    assert await content.ingests(ref) == [ref]
    assert await content.ingests(ref + "/") == []
    await content.abort(ref)
    assert await content.ingests(ref) == []


class TestWhatIsNotFinished:
    async def test_its_lease_holds_it(
        self, part: str, witness: Witness, content: Content, leases: Leases, lease: str
    ) -> None:
        """An ingest is there for as long as the lease that it was opened under, and goes with it.

        A file in the spool is nothing to containerd: it stays until whoever began it lets go of it.
        """
        ref = await _begun(content, lease)
        await witness.collect_garbage()
        assert await content.ingested(ref) == 1000
        await leases.delete(lease)
        await witness.collect_garbage()
        assert await content.ingested(ref) == (1000 if part == "direct" else None)
        await content.abort(ref)
        assert await content.ingested(ref) is None

    async def test_without_a_lease(self, witness: Witness, content: Content) -> None:
        """It has some time of its own, but what becomes of it has none."""
        ref = await _begun(content, "")
        await witness.collect_garbage()
        assert await content.ingested(ref) == 1000
        data, digest = fresh()
        ingest = await content.ingest(fresh_ref(), "")
        await ingest.write(data)
        await ingest.commit(digest)
        await witness.collect_garbage()
        assert await content.size(digest) is None

    async def test_a_lease_that_ends_meanwhile(
        self, witness: Witness, content: Content, leases: Leases, lease: str
    ) -> None:
        """The bytes cannot become content that nobody holds: the commit fails, and leaves nothing."""
        data, digest = fresh()
        ingest = await content.ingest(fresh_ref(), lease)
        await ingest.write(data)
        await ingest.flush()
        await leases.delete(lease)
        await witness.collect_garbage()
        with pytest.raises(StoreUnavailableError):
            await ingest.commit(digest)
        assert await content.size(digest) is None


async def _begun(content: Content, lease: str) -> str:
    """An ingest of 1000 bytes that nobody writes to."""
    ref = fresh_ref()
    ingest = await content.ingest(ref, lease)
    await ingest.write(bytes(1000))
    await ingest.flush()
    await ingest.close()
    return ref


async def test_what_is_deleted_loses_its_references(
    witness: Witness, content: Content, leases: Leases, lease: str
) -> None:
    """A lease goes on naming what was deleted and keeps what comes in its place, but not what the first referred to."""
    await leases.create(f"{lease}/child")
    child = await store(content, fresh()[0], f"{lease}/child")
    data, digest = fresh()
    await content.put(data, digest, lease, {"l.0": child})
    await leases.delete(f"{lease}/child")
    await content.delete(digest)
    await leases.create(f"{lease}/second")
    await store(content, data, f"{lease}/second")
    await leases.delete(f"{lease}/second")
    await witness.collect_garbage()
    assert digest in await witness.contents()
    assert child not in await witness.contents()
