"""Comparing the journal with containerd, and mending what does not fit: on both of them, and a real upstream."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from mirror.containerd.channel import Channel
from mirror.containerd.leases import LeaseManager
from mirror.containerd.probe import Probe
from mirror.core.access import ANONYMOUS
from mirror.core.errors import StoreUnavailableError
from mirror.core.jobs import ON_PUSH, Job, Kind, NewDelete, Outcome, State
from mirror.core.ports import Images, Jobs, Leases, Snapshots
from mirror.core.publish import JOB_LEASES
from mirror.core.push import UPLOADS
from mirror.core.replication.restore import RESTORES
from mirror.core.upload import Chunk
from mirror.oci.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor
from mirror.oci.names import Digest, Reference, digest_of
from mirror.pb import snapshots_pb2 as pb
from mirror.pb.snapshots_pb2_grpc import SnapshotsStub
from mirror.runtime.clock import SystemClock
from tests.contract.rooms import streamed
from tests.contract.rules.ledger import Ledger
from tests.contract.rules.way import Way, image, index
from tests.contract.store import content_labels, fresh, kept, store
from tests.rig.containerd import Containerd
from tests.unit.clock import EPOCH, ManualClock

V1 = Reference(tag="v1", digest=None)
V2 = Reference(tag="v2", digest=None)


@pytest.fixture(autouse=True)
async def clean(ledger: Ledger) -> None:
    """The tests before have left in containerd what this journal does not know of."""
    await ledger.repair()


async def acknowledged(way: Way, ledger: Ledger, *blobs: Descriptor) -> Job:
    """Push an image as a builder does, which ends the lease of its blobs."""
    raw = image(*blobs)
    job = (await ledger.manifest_push.put(way.repository, [V1], OCI_MANIFEST, raw, ANONYMOUS)).jobs[0]
    await way.leases.create(way.lease)
    return job


async def finish(jobs: Jobs, outcome: Outcome, *kinds: Kind) -> None:
    """End the tasks of the only job."""
    for kind in kinds:
        task = await jobs.claim(kind, EPOCH, 0)
        assert task is not None
        await jobs.settle(task, outcome)


DONE, PARKED = Outcome(State.DONE), Outcome(State.PARKED, "lost")


class TestLeases:
    @pytest.mark.parametrize("prefix", [JOB_LEASES, UPLOADS])
    async def test_without_an_owner(self, ledger: Ledger, leases: Leases, prefix: str) -> None:
        """What a crash left behind ends, and only that: nothing ends that is not ours, or of another kind."""
        orphan, seen, others = prefix + secrets.token_hex(8), f"registry-mirror/seen/{prefix[-4:]}", f"other/{prefix}"
        for lease in (orphan, seen, others):
            await leases.create(lease)
        assert await ledger.check() == [("orphan lease", orphan, False)]
        assert await ledger.repair() == [("orphan lease", orphan, True)]
        assert await ledger.check() == []
        assert {orphan, seen, others} & set(await leases.list("")) == {seen, others}

    @pytest.mark.parametrize("prefix", [JOB_LEASES, UPLOADS])
    async def test_in_flight(self, ledger: Ledger, leases: Leases, prefix: str) -> None:
        """A push on its way has a lease before the journal knows of it."""
        lease = prefix + secrets.token_hex(8)
        await leases.create(lease)
        ledger.in_flight = frozenset({lease})
        assert await ledger.repair() == []

    async def test_of_what_begins_right_now(self, way: Way, ledger: Ledger, channel: Channel) -> None:
        """A round that comes when a session or a push has its lease, and the journal knows of none, is no harm."""
        found: list[tuple[str, str, bool]] = []

        class Interrupted(LeaseManager):
            async def create(self, lease: str, *, seconds: float | None = None) -> None:
                await super().create(lease, seconds=seconds)
                found.extend([(lease, "", False), *await ledger.repair()])

        leases = Interrupted(channel, SystemClock())
        ledger.blob_push._leases = ledger.manifest_push._leases = leases
        upload = await ledger.blob_push.begin(way.repository)
        job = await acknowledged(way, ledger, await way.blob())
        assert found == [(f"{UPLOADS}{upload.id}", "", False), (job.lease, "", False)]

    async def test_of_sessions_and_of_blobs_without_a_manifest(self, way: Way, ledger: Ledger, leases: Leases) -> None:
        """An open session, and a blob whose manifest is still to come, are held by the lease of the upload."""
        await ledger.blob_push.begin(way.repository)
        data, digest = fresh()
        await ledger.blob_push.push(way.repository, digest, Chunk(once(data), None, None))
        assert await ledger.repair() == []
        assert len(await leases.list(UPLOADS)) == 2

    async def test_missing(self, way: Way, ledger: Ledger, leases: Leases, channel: Channel) -> None:
        """Somebody deleted it: it is made again, and holds the manifest and all that was given with it."""
        config, layer = await way.blob(), await way.blob()
        job = await acknowledged(way, ledger, config, layer)
        everything = {job.digest, config.digest, layer.digest}
        assert await kept(channel, job.lease) == everything
        await leases.delete(job.lease)
        assert await ledger.repair() == [("missing lease", job.lease, True)]
        assert await kept(channel, job.lease) == everything

    async def test_of_an_index(self, way: Way, ledger: Ledger, leases: Leases, channel: Channel) -> None:
        """Its images are held, and what they name by them; an entry that was never given to the repository is not."""
        child, stranger = image(await way.blob()), Descriptor(fresh()[1], 7, OCI_MANIFEST)
        await ledger.manifest_push.put(
            way.repository, [Reference(None, digest_of(child))], OCI_MANIFEST, child, ANONYMOUS
        )
        raw = index(child, stranger)
        job = (await ledger.manifest_push.put(way.repository, [V1], OCI_INDEX, raw, ANONYMOUS)).jobs[0]
        await leases.delete(job.lease)
        assert await ledger.repair() == [("missing lease", job.lease, True)]
        assert await kept(channel, job.lease) == {digest_of(raw), digest_of(child)}

    async def test_that_lacks_something(self, way: Way, ledger: Ledger, leases: Leases, channel: Channel) -> None:
        """A lease that others made anew without its content is filled again."""
        config = await way.blob()
        job = await acknowledged(way, ledger, config)
        await leases.delete(job.lease)
        await leases.create(job.lease)
        assert await ledger.repair() == [("loose content", job.lease, True)]
        assert await kept(channel, job.lease) == {job.digest, config.digest}
        assert await ledger.check() == []

    async def test_whose_manifest_lost_its_references(self, way: Way, ledger: Ledger, channel: Channel) -> None:
        """Where others took away the labels of a manifest, the lease names what it needs itself."""
        config = await way.blob()
        job = await acknowledged(way, ledger, config)
        await way.leases.hold(way.lease, config.digest)
        labels = dict.fromkeys(await content_labels(channel, job.digest), "")
        await streamed(channel).label(job.digest, labels)
        assert await kept(channel, job.lease) == {job.digest}
        assert await ledger.repair() == [("loose content", job.lease, True)]
        assert await kept(channel, job.lease) == {job.digest, config.digest}
        assert await ledger.check() == []

    async def test_of_a_job_that_is_over(self, way: Way, ledger: Ledger, jobs: Jobs) -> None:
        """Killed between the last step of a job and the end of its lease, the next start ends it."""
        job = await acknowledged(way, ledger, await way.blob())
        await finish(jobs, DONE, *ON_PUSH)
        assert await ledger.repair() == [("orphan lease", job.lease, True)]


class TestIngests:
    async def test_without_a_session(self, way: Way, ledger: Ledger, containerd: Containerd) -> None:
        """Its bytes are dropped; those of a session stay, and those that are just coming back from the upstream."""
        upload = await ledger.blob_push.begin(way.repository)
        await ledger.blob_push.append(way.repository, upload.id, Chunk(once(b"here"), None, None))
        orphan, restoring, restored = f"{UPLOADS}gone", f"{RESTORES}now", f"{RESTORES}before"
        for ref in (orphan, restoring, restored):
            ingest = await way.content.ingest(ref, way.lease)
            await ingest.write(b"some")
            await ingest.flush()
            await ingest.close()
        ledger.in_flight = frozenset({restoring})
        assert await ledger.repair() == [("orphan ingest", restored, True), ("orphan ingest", orphan, True)]
        assert containerd.ingests() == {UPLOADS + upload.id, restoring}
        await ledger.blob_push.close()


async def test_half_a_snapshot(ledger: Ledger, snapshots: Snapshots, channel: Channel, lease: str) -> None:
    """What an unpack of ours that was killed left behind is removed."""
    key = f"extract-{secrets.token_hex(4)} {fresh()[1]}"
    request = pb.PrepareSnapshotRequest(
        snapshotter=Containerd.snapshotter, key=key, labels={"registry-mirror/extract": "unfinished"}
    )
    await channel.call(SnapshotsStub(channel.grpc).Prepare, request, lease=lease)
    assert await ledger.repair() == [("half snapshot", key, True)]
    assert await snapshots.abandoned() == []


class TestTags:
    async def test_made_by_others(
        self, way: Way, ledger: Ledger, images: Images, jobs: Jobs, channel: Channel, containerd: Containerd
    ) -> None:
        """A tag that `ctr` gave to what was pushed gets a job, held like a push; once."""
        config = await way.blob()
        job = await acknowledged(way, ledger, config)
        name = way.repository.image(V2)
        containerd.ctr("images", "tag", job.image, name)
        assert await ledger.repair() == [("unknown tag", name, True)]
        assert await ledger.check() == []
        (adopted, *_) = await jobs.find(way.repository, V2)
        assert adopted.job.digest == job.digest
        assert await kept(channel, adopted.job.lease) == {job.digest, config.digest}
        record = await images.get(name)
        assert record is not None

    async def test_moved_back_by_others(self, way: Way, ledger: Ledger, jobs: Jobs, containerd: Containerd) -> None:
        """What the tag stands for here it will stand for upstream."""
        first = await acknowledged(way, ledger, await way.blob())
        containerd.ctr("images", "tag", first.image, way.repository.image(V2))
        await ledger.repair()
        await acknowledged(way, ledger, await way.blob())
        containerd.ctr("images", "tag", "--force", way.repository.image(V2), first.image)
        assert await ledger.repair() == [("unknown tag", first.image, True)]
        assert {task.job.digest for task in await jobs.find(way.repository, V1)} == {first.digest}

    async def test_of_what_was_never_pushed(self, way: Way, ledger: Ledger, images: Images) -> None:
        """Without a proof nothing goes upstream, be it in a repository of ours or called whatever others like."""
        raw = image(await way.blob())
        await way.content.put(raw, digest := digest_of(raw), way.lease, {})
        for name in (way.repository.image(V1), f"{way.repository}:NO TAG!", str(way.repository)):
            await images.point(name, Descriptor(digest, 7, OCI_MANIFEST))
        assert await ledger.repair() == []

    async def test_before_its_job(self, way: Way, ledger: Ledger, images: Images, jobs: Jobs) -> None:
        """A record that is older than the newest push or delete of its tag is about to be moved: by that."""
        job = await acknowledged(way, ledger, await way.blob())
        record = await images.get(job.image)
        assert record is not None
        later = record.updated + 60
        await jobs.enqueue_delete(NewDelete(way.repository, V1, job.digest, job.media_type, later))
        assert await ledger.repair() == []


class TestContent:
    async def test_that_is_gone(self, way: Way, ledger: Ledger, jobs: Jobs, containerd: Containerd) -> None:
        """The next attempt is due at once, and finds out; a job that is parked already is only told of."""
        layer = await way.blob()
        job = await acknowledged(way, ledger, await way.blob(), layer)
        task = await jobs.claim(Kind.REPLICATE, EPOCH, 0)
        assert task is not None
        await jobs.settle(task, Outcome(State.PENDING, "later", EPOCH + 1000))
        containerd.ctr("content", "rm", layer.digest)
        assert await ledger.repair() == [("gone content", job.image, True)]
        task = await jobs.claim(Kind.REPLICATE, EPOCH, 3600)
        assert task is not None
        await jobs.settle(task, PARKED)
        assert await ledger.repair() == [("gone content", job.image, False)]

    async def test_that_goes_between_two_looks(self, way: Way, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        """A manifest that is collected when it was seen to be here, and is not read yet, is one that is gone."""
        job = await acknowledged(way, ledger, await way.blob())
        size = way.content.size

        async def last_seen(digest: Digest) -> int | None:
            found = await size(digest)
            await way.content.delete(digest)
            return found

        # Nothing real can be made to come just between two calls of a round; what comes then is real.
        monkeypatch.setattr(way.content, "size", last_seen)
        await ledger.repair()
        monkeypatch.undo()
        assert await ledger.repair() == [("gone content", job.image, True)]

    async def test_every_attempt_but_the_first_has_its_time(
        self, way: Way, ledger: Ledger, jobs: Jobs, containerd: Containerd
    ) -> None:
        """An attempt that could do nothing about it, as the upstream is away, is not followed by one each round."""
        await acknowledged(way, ledger, layer := await way.blob())
        containerd.ctr("content", "rm", layer.digest)
        await ledger.repair()
        task = await jobs.claim(Kind.REPLICATE, EPOCH, 3600)
        assert task is not None
        await jobs.settle(task, Outcome(State.PENDING, "away", EPOCH + 1000))
        await ledger.repair()
        assert await jobs.next_due(Kind.REPLICATE) == EPOCH + 1000

    async def test_grants_of_it(self, way: Way, ledger: Ledger, containerd: Containerd) -> None:
        """They are dropped, and forgotten with the next round; but not what a job may still fetch back."""
        await acknowledged(way, ledger, needed := await way.blob())
        gone, here = await way.blob(), await way.blob()
        for blob in (needed, gone):
            containerd.ctr("content", "rm", blob.digest)
        everything = [needed.digest, gone.digest, here.digest]
        found = await ledger.repair()
        assert [(kind, subject) for kind, subject, _ in found if kind == "stale grants"] == [
            ("stale grants", str(way.repository))
        ]
        assert await way.grants.granted(way.repository, everything) == {needed.digest, here.digest}
        assert gone.digest in await way.grants.given(way.repository, everything)
        await ledger.repair()
        assert (await way.grants.given(way.repository, everything)).keys() == {needed.digest, here.digest}

    async def test_grants_of_a_job_that_is_not_known_through(
        self, way: Way, ledger: Ledger, containerd: Containerd
    ) -> None:
        """As long as the manifest of a job is missing, nobody knows what it needs: nothing is dropped."""
        layer = await way.blob()
        job = await acknowledged(way, ledger, layer)
        for digest in (job.digest, layer.digest):
            containerd.ctr("content", "rm", digest)
        await ledger.repair()
        assert layer.digest in await way.grants.granted(way.repository, [layer.digest])


class TestDeep:
    async def test_damage(self, way: Way, ledger: Ledger, containerd: Containerd) -> None:
        """Bytes that changed on the disk are found by reading them alone, and replaced by those of the upstream."""
        good, bad = await way.blob(), await way.blob(size=2_000_000)
        await way.bring(bad)
        before = containerd.content(bad.digest)
        containerd.damage(bad.digest)
        assert await ledger.check() == []
        assert await ledger.check(deep=True) == [("damage", bad.digest, False)]
        assert await ledger.repair(deep=True) == [("damage", bad.digest, True)]
        assert containerd.content(bad.digest) == before
        assert await ledger.check(deep=True) == []
        assert ledger.progress[-1].bytes == good.size + bad.size
        assert containerd.ingests() == set()
        assert await way.leases.list("registry-mirror/repair/") == []

    async def test_of_what_keeps_other_content(
        self, way: Way, ledger: Ledger, containerd: Containerd, channel: Channel
    ) -> None:
        """A manifest holds its blobs by labels: they stay, and so do the blobs, through a collection of garbage."""
        layer = await way.blob()
        task = await way.push(image(layer))
        await way.replicator().attempt(task)
        await ledger.manifest_push.put(way.repository, [V2], OCI_MANIFEST, image(layer), ANONYMOUS)
        labels = await content_labels(channel, task.job.digest)
        await finish_all(way)
        containerd.damage(task.job.digest)
        await way.leases.delete(way.lease)
        found = await ledger.repair(deep=True)
        assert ("damage", task.job.digest, True) in found
        containerd.collect_garbage()
        assert await content_labels(channel, task.job.digest) == labels
        assert layer.digest in containerd.contents()

    async def test_the_upstream_does_not_have_it(self, way: Way, ledger: Ledger, containerd: Containerd) -> None:
        """It is left as it is, and told."""
        blob = await way.blob()
        containerd.damage(blob.digest)
        assert await ledger.reasons(deep=True) == [f"the upstream does not have it in {way.repository}"]
        assert containerd.content(blob.digest).startswith(b"damaged")

    async def test_another_namespace_has_it_too(self, way: Way, ledger: Ledger, containerd: Containerd) -> None:
        """Containerd keeps the file for it: that cannot be mended from here."""
        blob = await way.blob()
        await way.bring(blob)
        await share(containerd, blob.digest)
        containerd.damage(blob.digest)
        assert await ledger.reasons(deep=True) == ["the file stays: another namespace of containerd has it too"]


class TestRounds:
    @pytest.fixture
    async def watching(self, ledger: Ledger) -> AsyncIterator[None]:
        watch = asyncio.create_task(ledger.reconciler.watch())
        yield
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch

    @pytest.mark.usefixtures("watching")
    async def test_now_and_then(self, leases: Leases, clock: ManualClock) -> None:
        """The leases of jobs are looked at every 30 seconds, everything every few minutes."""
        await clock.until_asleep(10.0)
        clock.advance(10.0)
        job_lease, upload = JOB_LEASES + secrets.token_hex(8), UPLOADS + secrets.token_hex(8)
        for lease in (job_lease, upload):
            await leases.create(lease)
        await clock.until_asleep(30.0)
        clock.advance(30.0)
        await clock.until_asleep(30.0)
        assert await leases.list(job_lease) == []
        assert await leases.list(upload) == [upload]
        for _ in range(8):
            clock.advance(30.0)
            await clock.until_asleep(30.0)
        clock.advance(30.0)
        await clock.until_asleep(10.0)
        assert await leases.list(upload) == []

    @pytest.mark.usefixtures("watching")
    async def test_after_a_change_by_others(self, way: Way, leases: Leases, clock: ManualClock, images: Images) -> None:
        """A change in containerd is followed by a round, but not before the last one is some seconds ago."""
        await clock.until_asleep(10.0)
        upload = UPLOADS + secrets.token_hex(8)
        await leases.create(upload)
        target = Descriptor(fresh()[1], 7, OCI_MANIFEST)
        async with asyncio.timeout(60):
            while await leases.list(upload):  # nothing tells when containerd has begun to listen for us
                await images.point(way.repository.image(V1), target)
                await asyncio.sleep(0.05)  # its event needs real time to come, whatever the clock of the rules says
                clock.advance(1.0)
        assert 10 < clock.monotonic() < 300

    async def test_containerd_comes_late(
        self, way: Way, ledger: Ledger, leases: Leases, clock: ManualClock, containerd: Containerd
    ) -> None:
        """It is asked again every second, and things are mended once it answers."""
        job = await acknowledged(way, ledger, await way.blob())
        await leases.delete(job.lease)
        containerd.kill()
        watch = asyncio.create_task(ledger.reconciler.watch())
        await clock.until_asleep(1.0)
        containerd.start()
        async with asyncio.timeout(60):
            while job.lease not in await listed(leases):
                clock.advance(1.0)
                await asyncio.sleep(0.05)  # a real containerd starts in real time
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


async def test_rounds_during_pushes(way: Way, ledger: Ledger, jobs: Jobs, containerd: Containerd) -> None:
    """Whatever is on its way when a round comes, nothing is taken from under it.

    All that may be found is what a push is about to end itself: the lease of an upload whose manifest is here.
    """

    async def pushes(number: int) -> None:
        for round_ in range(6):
            blobs = [fresh(50_000) for _ in range(3)]
            for data, digest in blobs:
                await ledger.blob_push.push(way.repository, digest, Chunk(once(data), None, None))
            raw = image(*(Descriptor(digest, len(data), "application/x") for data, digest in blobs))
            tag = Reference(tag=f"v{number}-{round_ % 2}", digest=None)
            await ledger.manifest_push.put(way.repository, [tag], OCI_MANIFEST, raw, ANONYMOUS)

    async def rounds() -> None:
        while True:
            found.extend(await ledger.repair())

    found: list[tuple[str, str, bool]] = []
    repairing = asyncio.create_task(rounds())
    await asyncio.gather(*(pushes(number) for number in range(6)))
    repairing.cancel()
    await asyncio.gather(repairing, return_exceptions=True)
    assert [one for one in found if one[0] != "orphan lease" or not one[1].startswith(UPLOADS)] == []
    assert len(await jobs.held()) == 36
    containerd.collect_garbage()
    assert await ledger.repair() == []


async def once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def listed(leases: Leases) -> list[str]:
    """The leases of jobs, none while containerd is away."""
    with suppress(StoreUnavailableError):
        return await leases.list(JOB_LEASES)
    return []


async def finish_all(way: Way) -> None:
    """End all tasks, so that no job holds anything."""
    for kind in ON_PUSH:
        while task := await way.jobs.claim(kind, EPOCH, 3600):
            await way.jobs.settle(task, DONE)


async def share(containerd: Containerd, digest: Digest) -> None:
    """Give another namespace a blob too."""
    channel = Channel(Path(containerd.address), "other")
    await Probe(channel, Containerd.snapshotter).prepare()
    leases = LeaseManager(channel, SystemClock())
    await leases.create("other")
    await store(streamed(channel), containerd.content(digest), "other")
    await channel.close()
