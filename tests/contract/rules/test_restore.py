"""Content that vanished from containerd, brought back from a real registry; and blobs that have a head start."""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from mirror.containerd.channel import Channel
from mirror.core.errors import ContentMissingError, UpstreamError
from mirror.core.jobs import Kind, Outcome, State
from mirror.core.ports import Snapshots
from mirror.core.replication.eager import HeadStart
from mirror.core.unpack import Unpacker
from mirror.oci.manifest import Descriptor, Platform, parse_manifest
from mirror.oci.names import Digest, digest_of
from tests.contract.rules.way import UPLOAD, Way, image
from tests.contract.store import fresh, held, load, store, unpacked
from tests.rig.containerd import Containerd
from tests.rig.faults import CutAnswer, Reply
from tests.rig.images import ARCHITECTURE, File, Layer, build_image
from tests.rig.until import until

DONE = Outcome(State.DONE)


class TestRestore:
    @pytest.mark.parametrize("what", ["blob", "manifest"])
    async def test_it_is_upstream(self, way: Way, containerd: Containerd, channel: Channel, what: str) -> None:
        """It is fetched under the lease of the job, byte for byte, and the attempt succeeds."""
        blob = await way.blob(size=3_000_000)
        raw = image(blob)
        task, attempt = await way.push(raw), way.restorer().around(way.replicator().attempt)
        await attempt(task)
        digest = blob.digest if what == "blob" else digest_of(raw)
        containerd.ctr("content", "rm", digest)
        assert await attempt(task) == DONE
        assert digest_of(await load(way.content, digest)) == digest
        assert ("content", digest) in await held(channel, way.lease)
        assert containerd.ingests() == set()

    async def test_everything_is_gone(self, way: Way, containerd: Containerd) -> None:
        """One after the other, until nothing is missing any more; and the manifest keeps its blobs again."""
        blobs = [await way.blob() for _ in range(3)]
        raw = image(*blobs)
        task, attempt = await way.push(raw), way.restorer().around(way.replicator().attempt)
        await attempt(task)
        for digest in (digest_of(raw), *(blob.digest for blob in blobs)):
            containerd.ctr("content", "rm", digest)
        assert await attempt(task) == DONE
        assert containerd.contents() >= {digest_of(raw), *(blob.digest for blob in blobs)}
        assert await way.content.references(digest_of(raw)) == {blob.digest for blob in blobs}

    async def test_it_is_nowhere(self, way: Way, containerd: Containerd) -> None:
        """It is missing by its digest, and nothing is left of the try."""
        blob = await way.blob()
        task = await way.push(image(blob))
        containerd.ctr("content", "rm", blob.digest)
        with pytest.raises(ContentMissingError, match=blob.digest):
            await way.restorer().around(way.replicator().attempt)(task)
        assert containerd.ingests() == set()

    async def test_nobody_can_be_asked(self, way: Way, containerd: Containerd) -> None:
        """Of a registry that was taken out of the settings nothing comes back."""
        task = await way.push(image(await way.blob()))
        containerd.ctr("content", "rm", task.job.digest)
        with pytest.raises(ContentMissingError, match=task.job.digest):
            await way.restorer({}).around(way.replicator().attempt)(task)

    async def test_it_is_missing_all_the_same(self, way: Way) -> None:
        """What is missing again although it was restored is given up: no attempt goes on for ever."""
        blob = await way.blob()
        await way.bring(blob)
        tries = []

        async def attempt(_: object) -> Outcome:
            tries.append(1)
            raise ContentMissingError(blob.digest)

        with pytest.raises(ContentMissingError):
            await way.restorer().around(attempt)(await way.push(image(blob)))
        assert len(tries) == 2

    async def test_others_brought_it_back(self, way: Way, channel: Channel) -> None:
        """What is there again by then is held for this job too, before anybody can collect it."""
        task = await way.push(image(await way.blob()))
        lease = f"{way.lease}/other"
        await way.leases.create(lease)
        digest = await store(way.content, fresh()[0], lease)
        ends: list[Outcome | Exception] = [ContentMissingError(digest), DONE]

        async def attempt(_: object) -> Outcome:
            end = ends.pop(0)
            if isinstance(end, Exception):
                raise end
            return end

        assert await way.restorer().around(attempt)(task) == DONE
        assert ("content", digest) in await held(channel, way.lease)

    @pytest.mark.parametrize("what", ["blob", "manifest"])
    async def test_other_bytes(self, way: Way, containerd: Containerd, what: str) -> None:
        """They are not taken for it, and a person is told."""
        blob = await way.blob()
        raw = image(blob)
        task, attempt = await way.push(raw), way.restorer().around(way.replicator().attempt)
        await attempt(task)
        digest = blob.digest if what == "blob" else digest_of(raw)
        containerd.ctr("content", "rm", digest)
        way.proxy.arm(Reply(200, {}, image(blob, annotations={})), "GET", digest)
        with pytest.raises(UpstreamError, match=f"serves other bytes for {digest}") as refusal:
            await attempt(task)
        assert not refusal.value.transient
        assert await way.content.size(digest) is None
        assert containerd.ingests() == set()

    async def test_it_breaks_in_the_middle(self, way: Way, containerd: Containerd) -> None:
        """That is transient, leaves nothing behind, and the next attempt has it."""
        blob = await way.blob(size=3_000_000)
        task, attempt = await way.push(image(blob)), way.restorer().around(way.replicator().attempt)
        await attempt(task)
        containerd.ctr("content", "rm", blob.digest)
        way.proxy.arm(CutAnswer(1_000_000), "GET", f"/blobs/{blob.digest}")
        with pytest.raises(UpstreamError) as broken:
            await attempt(task)
        assert broken.value.transient
        assert containerd.ingests() == set()
        assert await attempt(task) == DONE

    async def test_for_an_unpacking(
        self, way: Way, containerd: Containerd, channel: Channel, snapshots: Snapshots, directory: Path
    ) -> None:
        """A layer that is only upstream is brought back for whoever wants to start the image."""
        layout = build_image(directory / "layout", [Layer([File(secrets.token_hex(8), b"here")])])
        blobs = [await way.blob(layout.blob(child.digest).read_bytes()) for child in layout.children]
        task = await way.push(layout.manifest)
        await way.replicator().attempt(task)
        layer = parse_manifest(layout.manifest).layers[0]
        containerd.ctr("content", "rm", layer.digest)
        here = Platform(os="linux", architecture=ARCHITECTURE)
        unpacker = Unpacker(
            content=way.content, grants=way.grants, snapshots=snapshots, platforms=[here], board=way.board
        )
        unpack = await way.task(task.job, Kind.UNPACK)
        before = set(await unpacked(channel))
        assert await way.restorer().around(unpacker.attempt)(unpack) == DONE
        assert len(set(await unpacked(channel)) - before) == 1
        assert {blob.digest for blob in blobs} <= containerd.contents()


class TestHeadStart:
    async def test_before_any_manifest(self, way: Way) -> None:
        """A blob that is offered gets upstream, several side by side."""
        blobs = [await way.blob() for _ in range(3)]
        await self.run(way, blobs, lambda: all(way.holds(blob) for blob in blobs))

    async def test_what_does_not_work_is_left_at_that(self, way: Way) -> None:
        """A blob that is gone, and one that the upstream refuses, stop nobody."""
        gone, refused, good = Descriptor(digest=fresh()[1], size=7), await way.blob(), await way.blob(size=2000)
        way.proxy.arm(Reply(403), "HEAD", refused.digest)
        await self.run(way, [gone, refused, good], lambda: way.holds(good))
        assert not way.holds(refused)

    @staticmethod
    async def run(way: Way, blobs: list[Descriptor], arrived: Callable[[], bool]) -> None:
        """Offer blobs, and wait until they arrived."""
        head_start = HeadStart({way.repository.registry: way.carrier()}, way.clock)
        running = asyncio.create_task(head_start.run())
        for blob in blobs:
            head_start.offer(way.repository, Digest(blob.digest), blob.size)
        await asyncio.to_thread(until, arrived, "the blobs are upstream")
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    async def test_too_many_are_let_be(self, way: Way) -> None:
        """An offer never waits and never fails: what is too much is brought by its job."""
        head_start = HeadStart({way.repository.registry: way.carrier()}, way.clock)
        for _ in range(300):
            head_start.offer(way.repository, fresh()[1], 7)
        assert way.proxy.seen("PUT", UPLOAD) == []
