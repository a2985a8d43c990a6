"""Bringing blobs to an upstream, on a real journal, containerd and registry."""

import asyncio
import json

import pytest

from mirror.core.errors import ContentMissingError, UpstreamError
from mirror.core.ports import Transfer
from mirror.core.replication.turns import SMALL
from mirror.oci.manifest import Descriptor
from tests.contract.rules.way import BEGIN, UPLOAD, Way
from tests.contract.store import fresh
from tests.rig.containerd import Containerd
from tests.rig.faults import Cut, CutAnswer, Reply
from tests.rig.until import until
from tests.rig.wire import Wire
from tests.unit.clock import EPOCH

PIECE = 1 << 20
LARGE = SMALL + 1_000_000
LATER = Reply(429, {"Retry-After": "0"})


def words(code: str) -> bytes:
    """An error body."""
    return json.dumps({"errors": [{"code": code}]}).encode()


async def test_a_blob_is_sent_once(way: Way) -> None:
    """Whoever asks for it and however many do: the first sends it, the others find it."""
    blob, carrier = await way.blob(), way.carrier()
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(way.bring(blob, carrier=carrier))
    assert way.holds(blob)
    assert way.sent() == [blob.size]
    assert len(way.proxy.seen("POST", BEGIN)) == 1


async def test_a_second_repository_mounts_it(way: Way) -> None:
    """Two repositories need it at once: one gets the bytes, the other a mount from there."""
    blob, carrier = await way.blob(), way.carrier()
    async with asyncio.TaskGroup() as group:
        for repository in (way.repository, way.other):
            group.create_task(way.bring(blob, repository, carrier))
    assert way.holds(blob)
    assert way.holds(blob, way.other)
    assert way.sent() == [blob.size]
    first, second = [request.target for request in way.proxy.seen("POST", BEGIN)]
    assert "mount=" not in first
    assert f"from={way.repository.path}" in second


async def test_what_is_there_is_not_sent(way: Way) -> None:
    """One question is all; it counts as progress, and is known from now on."""
    blob = await way.blob()
    await way.bring(blob)
    before = len(way.proxy.requests)
    await way.bring(blob)
    assert [request.method for request in way.proxy.requests[before:]] == ["HEAD"]
    assert way.reached == [0, blob.size, blob.size]
    assert await way.transfers.elsewhere(way.other, blob.digest) == way.repository


async def test_what_is_neither_here_nor_there(way: Way) -> None:
    """It is missing by its digest, and no upload is begun that nobody could finish."""
    blob = Descriptor(digest=fresh()[1], size=7)
    with pytest.raises(ContentMissingError, match=blob.digest):
        await way.bring(blob)
    assert way.proxy.seen("POST") == []


async def test_what_is_there_and_not_here(way: Way, containerd: Containerd) -> None:
    """A blob need not be here to be upstream."""
    blob = await way.blob()
    await way.bring(blob)
    containerd.ctr("content", "rm", blob.digest)
    await way.bring(blob)


class TestGivingWay:
    async def test_a_little_now_and_then(self, way: Way) -> None:
        """While an original is on its way to any upstream, a piece every ten seconds; then the rest at once."""
        blob = await way.blob(size=3 * PIECE)
        async with asyncio.TaskGroup() as group:
            with way.precedence.first():
                group.create_task(way.bring(blob, gives_way=True))
                for number in range(2):
                    await way.clock.until_asleep(10)
                    assert way.reached[-1] == number * PIECE
                    way.clock.advance(10)
                await way.clock.until_asleep(10)
        assert way.holds(blob)
        assert way.sent() == [blob.size]

    async def test_an_original_that_needs_the_same_blob(self, way: Way) -> None:
        """It does not wait for what goes slowly, nor for what has not begun; the blob is sent once."""
        first, second, carrier = await way.blob(size=2 * PIECE), await way.blob(size=2 * PIECE), way.carrier()
        async with asyncio.TaskGroup() as group:
            with way.precedence.first():
                slow = group.create_task(way.bring(first, carrier=carrier, gives_way=True))
                await way.clock.until_asleep(10)
                waiting = group.create_task(way.bring(second, carrier=carrier, gives_way=True))
                await asyncio.to_thread(until, lambda: way.proxy.seen("HEAD", second.digest), "it is asked for")
                await way.bring(second, way.other, carrier)
                await waiting
                assert not slow.done()
                await way.bring(first, carrier=carrier)
                await slow
        assert way.holds(second, way.other)
        assert sorted(way.sent()) == [first.size, second.size]


class TestMount:
    @staticmethod
    async def seen_elsewhere(way: Way) -> Descriptor:
        """A blob that another repository is believed to have upstream, and has not."""
        blob = await way.blob()
        await way.transfers.saw(way.other, blob.digest, EPOCH)
        return blob

    async def test_the_source_has_lost_it(self, way: Way) -> None:
        """The upload that the upstream opens instead is used."""
        blob = await self.seen_elsewhere(way)
        await way.bring(blob)
        assert way.holds(blob)
        assert len(way.proxy.seen("POST", BEGIN)) == 1

    @pytest.mark.parametrize("status", [401, 403, 404])
    async def test_we_may_not(self, way: Way, status: int) -> None:
        """A refusal is of the mount and not of the blob, which is sent."""
        blob = await self.seen_elsewhere(way)
        way.proxy.arm(Reply(status), "POST", BEGIN)
        await way.bring(blob)
        assert way.holds(blob)
        assert ["mount=" in request.target for request in way.proxy.seen("POST", BEGIN)] == [True, False]

    async def test_not_now(self, way: Way) -> None:
        """An upstream that has no time is not asked again at once."""
        blob = await self.seen_elsewhere(way)
        way.proxy.arm(LATER, "POST", BEGIN)
        with pytest.raises(UpstreamError, match="429"):
            await way.bring(blob)
        assert len(way.proxy.seen("POST", BEGIN)) == 1

    async def test_it_says_so_and_has_it_not(self, way: Way) -> None:
        """A 201 is not believed, and not asked for again and again: the blob is sent."""
        blob = await self.seen_elsewhere(way)
        way.proxy.arm(Reply(201, {"Location": "/v2/x"}), "POST", BEGIN)
        await way.bring(blob)
        assert way.holds(blob)
        assert ["mount=" in request.target for request in way.proxy.seen("POST", BEGIN)] == [True, False]

    async def test_a_plain_refusal(self, way: Way) -> None:
        """Where there was nothing to mount, a refusal is the last word."""
        blob = await way.blob()
        way.proxy.arm(Reply(403), "POST", BEGIN)
        with pytest.raises(UpstreamError, match="403"):
            await way.bring(blob)
        assert len(way.proxy.seen("POST", BEGIN)) == 1


class TestBroken:
    async def test_it_is_noted_where_it_goes_on(self, way: Way) -> None:
        """A large upload that was refused for now can be gone on with by the next process; a small one is not noted."""
        way.proxy.arm(LATER, "PUT", UPLOAD, times=2)
        for size in (SMALL, LARGE):
            blob = await way.blob(size=size)
            with pytest.raises(UpstreamError, match="429"):
                await way.bring(blob)
            known = await way.transfers.find(way.repository, blob.digest)
            assert (known is not None) is (size == LARGE)
        await way.bring(blob)
        assert await way.transfers.find(way.repository, blob.digest) is None

    async def test_it_goes_on_by_itself(self, way: Way) -> None:
        """Where each try gets further no attempt is over; the progress told is what the upstream has."""
        blob = await way.blob(size=LARGE)
        way.proxy.arm(Cut(400_000), "PUT", UPLOAD, times=3)
        await way.bring(blob)
        assert way.holds(blob)
        assert way.sent() == [400_000, 400_000, 400_000, LARGE - 1_200_000]
        assert {400_000, 800_000, 1_200_000} <= set(way.reached)
        assert way.reached[-1] == LARGE

    async def test_it_gets_no_further(self, way: Way) -> None:
        """Then the attempt is over, and what is there already is not given up."""
        blob = await way.blob(size=LARGE)
        way.proxy.arm(Cut(400_000), "PUT", UPLOAD)
        way.proxy.arm(Cut(0), "PUT", UPLOAD)
        with pytest.raises(UpstreamError):
            await way.bring(blob)
        known = await way.transfers.find(way.repository, blob.digest)
        assert known is not None
        assert known.offset == 400_000
        await way.bring(blob)
        assert sum(way.sent()) == LARGE

    async def test_all_of_it_is_there(self, way: Way) -> None:
        """All bytes arrived and the last answer was lost: an empty request finishes the upload."""
        blob = await way.blob(size=LARGE)
        begun = await way.upstream.begin_upload(way.repository, blob.digest)
        assert begun is not None
        path = begun.location.removeprefix(way.proxy.url)
        data = b"".join([piece async for piece in way.content.read(blob.digest)])
        location = Wire(way.registry.url).ask("PATCH", path, data).headers["Location"]
        await way.transfers.note(way.repository, blob.digest, Transfer(location, 0), EPOCH)
        await way.bring(blob)
        assert way.holds(blob)
        assert way.sent() == []
        assert way.reached[0] == LARGE

    async def test_more_is_there_than_there_is(self, way: Way) -> None:
        """An upload that has more bytes than the blob cannot be one of it: it is begun anew."""
        blob = await way.blob(size=LARGE)
        await way.transfers.note(way.repository, blob.digest, Transfer(f"{way.proxy.url}/up/1", 7), EPOCH)
        way.proxy.arm(Reply(204, {"Range": f"0-{LARGE}"}), "GET", "/up/1")
        await way.bring(blob)
        assert way.sent() == [LARGE]

    async def test_what_is_there_is_refused(self, way: Way) -> None:
        """A refusal of an upload that goes on is of that upload: it is forgotten, and the blob begun anew next time."""
        blob = await way.blob(size=LARGE)
        await way.transfers.note(way.repository, blob.digest, Transfer(f"{way.proxy.url}/up/1", 0), EPOCH)
        way.proxy.arm(Reply(204, {"Range": "0-6"}), "GET", "/up/1")
        way.proxy.arm(Reply(400, {"Content-Type": "application/json"}, words("DIGEST_INVALID")), "PUT", "/up/1")
        with pytest.raises(UpstreamError, match="DIGEST_INVALID") as refusal:
            await way.bring(blob)
        assert refusal.value.transient
        await way.bring(blob)
        assert way.holds(blob)

    async def test_a_refusal_of_the_whole_is_for_good(self, way: Way) -> None:
        """What was sent from its start is what is refused."""
        blob = await way.blob(size=LARGE)
        way.proxy.arm(Reply(400, {"Content-Type": "application/json"}, words("DIGEST_INVALID")), "PUT", UPLOAD)
        with pytest.raises(UpstreamError, match="DIGEST_INVALID") as refusal:
            await way.bring(blob)
        assert not refusal.value.transient

    async def test_a_201_is_not_believed(self, way: Way) -> None:
        """It is asked for, what is missing is a transient failure, and nothing is gone on with."""
        blob = await way.blob(size=LARGE)
        way.proxy.arm(Reply(201), "PUT", UPLOAD)
        with pytest.raises(UpstreamError, match="does not have it") as refusal:
            await way.bring(blob)
        assert refusal.value.transient
        assert await way.transfers.find(way.repository, blob.digest) is None
        assert await way.transfers.elsewhere(way.other, blob.digest) is None

    async def test_nobody_says_where_it_stands(self, way: Way) -> None:
        """Twice that may pass; the third time the blob is sent from its start."""
        blob, carrier = await way.blob(size=LARGE), way.carrier()
        await way.transfers.note(way.repository, blob.digest, Transfer(f"{way.proxy.url}/up/1", 7), EPOCH)
        way.proxy.arm(Reply(503), "GET", "/up/1", times=None)
        for _ in range(2):
            with pytest.raises(UpstreamError, match="503"):
                await way.bring(blob, carrier=carrier)
            assert await way.transfers.find(way.repository, blob.digest) is not None
        await way.bring(blob, carrier=carrier)
        assert way.sent() == [LARGE]


async def test_an_answer_that_was_lost(way: Way) -> None:
    """The upstream has the blob, only its answer did not come: the next attempt finds it."""
    blob = await way.blob()
    way.proxy.arm(CutAnswer(), "PUT", UPLOAD)
    with pytest.raises(UpstreamError):
        await way.bring(blob)
    await way.bring(blob)
    assert way.sent() == [blob.size]


async def test_a_question_that_only_fails(way: Way) -> None:
    """After three failures nobody asks any more: the blob is sent, and asked for again as before."""
    blob, carrier = await way.blob(), way.carrier()
    way.proxy.arm(Reply(500), "HEAD", f"{way.repository.path}/blobs/", times=3)
    for _ in range(3):
        with pytest.raises(UpstreamError, match="500"):
            await way.bring(blob, carrier=carrier)
        assert not await way.upstream.lists_referrers(way.repository, blob.digest)  # else the breaker would open
    before = len(way.proxy.requests)
    for _ in range(2):
        await way.bring(blob, carrier=carrier)
    assert [request.method for request in way.proxy.requests[before:]] == ["POST", "PUT", "HEAD", "HEAD"]


async def test_no_connection_is_no_such_failure(way: Way) -> None:
    """An upstream that is away is asked again however often that was in vain: it may have the blob."""
    blob, carrier = await way.blob(), way.carrier()
    await way.bring(blob)
    way.proxy.arm(Cut(0), "HEAD", f"{way.repository.path}/blobs/", times=None)
    for _ in range(4):
        with pytest.raises(UpstreamError):
            await way.bring(blob, carrier=carrier)
        assert not await way.upstream.lists_referrers(way.repository, blob.digest)  # else the breaker would open
    way.proxy.disarm()
    await way.bring(blob, carrier=carrier)
    assert way.sent() == [blob.size]
