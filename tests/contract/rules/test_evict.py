"""Eviction beside pushes, clients and others who move images: what it may not take, and what it leaves behind."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mirror.containerd.channel import Channel
from mirror.containerd.containers import ContainerRecords
from mirror.core.capacity import Capacity, Marks
from mirror.core.concurrency import SharedLock
from mirror.core.evict import Evictor, Report
from mirror.core.inventory import Inventory
from mirror.core.jobs import Kind, Outcome, State
from mirror.core.ports import Images, Snapshots
from mirror.core.retention import Rules, Wish
from mirror.core.seen import Seen
from mirror.journal.db import Database
from mirror.journal.usage import UsageTable
from mirror.oci.manifest import OCI_MANIFEST, Descriptor
from mirror.oci.names import Digest
from mirror.runtime.disk import HostDisk
from tests.contract.rules.way import Way, descriptor, image
from tests.rig.containerd import Containerd

AGE = 3600.0
ALL = Wish(everything=True)


class Announced(SharedLock):
    """The lock that pushes share, and `wanted` as soon as an eviction wants it for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted = asyncio.Event()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """See `SharedLock.alone`."""
        self.wanted.set()
        async with super().alone():
            yield


@dataclass(frozen=True)
class Rig:
    """An evictor for one repository, and what it works with."""

    way: Way
    images: Images
    evictor: Evictor
    seen: Seen
    pushes: Announced

    async def push(self, tag: str = "v1", blob: Descriptor | None = None) -> tuple[bytes, Descriptor]:
        """Push an image with one blob, see it upstream and unpacked, and let go of its leases."""
        blob = blob or await self.way.blob()
        raw = image(blob)
        task = await self.way.push(raw, tag=tag)
        for kind in (Kind.REPLICATE, Kind.UNPACK):
            await self.way.jobs.settle(await self.way.task(task.job, kind), Outcome(State.DONE))
        await self.images.point(task.job.image, descriptor(raw))
        await self.way.grants.settle(self.way.repository, [blob.digest])
        return raw, blob

    async def held(self) -> set[str]:
        """The tags that are here."""
        prefix = f"{self.way.repository}:"
        return {record.name.removeprefix(prefix) for record in await self.images.list(prefix)}

    async def granted(self, *digests: Digest) -> set[Digest]:
        """Those that the repository holds."""
        return await self.way.grants.granted(self.way.repository, list(digests))


@pytest.fixture
def rules() -> Rules:
    return Rules(age=AGE)


@pytest.fixture
def rig(
    way: Way,
    channel: Channel,
    images: Images,
    snapshots: Snapshots,
    database: Database,
    rules: Rules,
    tmp_path: Path,
) -> Rig:
    usage, pushes = UsageTable(database), Announced()
    seen = Seen(leases=way.leases, clock=way.clock, new_id=lambda: secrets.token_hex(8))
    inventory = Inventory(
        content=way.content,
        images=images,
        snapshots=snapshots,
        containers=ContainerRecords(channel, Containerd.snapshotter),
        grants=way.grants,
        usage=usage,
        registries=frozenset({way.repository.registry}),
    )
    evictor = Evictor(
        inventory=inventory,
        images=images,
        leases=way.leases,
        jobs=way.jobs,
        grants=way.grants,
        usage=usage,
        seen=seen,
        capacity=Capacity(HostDisk(), Marks(), tmp_path / "journal.db"),
        rules=rules,
        pushes=pushes,
        clock=way.clock,
    )
    return Rig(way, images, evictor, seen, pushes)


@pytest.fixture(autouse=True)
def nothing_left(containerd: Containerd) -> Iterator[None]:
    """Images of an earlier test are none of this one's: its journal knows nothing of them."""
    yield
    for name in containerd.images():
        containerd.ctr("images", "rm", name)


async def test_what_goes(rig: Rig) -> None:
    """The record, the grants that nothing else in the repository needs, and the content; what is shared stays."""
    own, shared = await rig.way.blob(), await rig.way.blob()
    raw, _ = await rig.push("v1", own)
    await rig.push("v2", shared)
    task = await rig.way.push(image(shared, own, annotations={"a": "b"}), tag="v3")  # on its way upstream
    await rig.images.point(task.job.image, Descriptor(task.job.digest, 1, OCI_MANIFEST))
    await rig.way.leases.delete(rig.way.lease)
    report = await rig.evictor.evict(ALL)
    assert [[one.name for one in going.images] for going in report.gone] == [
        [f"{rig.way.repository}:v1"],
        [f"{rig.way.repository}:v2"],
    ]
    assert await rig.held() == {"v3"}
    digest = descriptor(raw).digest
    assert await rig.granted(digest, own.digest, shared.digest) == {own.digest, shared.digest}
    assert await rig.way.content.size(digest) is None
    assert [await rig.way.content.size(blob.digest) for blob in (own, shared)] == [1000, 1000]


async def test_a_dry_run_changes_nothing(rig: Rig) -> None:
    """It says what would go."""
    await rig.push()
    report = await rig.evictor.evict(ALL, dry_run=True)
    assert [going.bytes > 1000 for going in report.gone] == [True]
    assert await rig.held() == {"v1"}


async def interrupted(rig: Rig) -> "asyncio.Task[Report]":
    """An eviction that has made its plan, and waits for a push."""
    evicting = asyncio.create_task(rig.evictor.evict(ALL))
    await rig.pushes.wanted.wait()
    return evicting


async def test_a_push_after_the_plan(rig: Rig) -> None:
    """What it needs must not go by a plan that did not know it: nothing of its repository does."""
    _, blob = await rig.push()
    async with rig.pushes.shared():
        evicting = await interrupted(rig)
        await rig.push("v2", blob)
    assert (await evicting).gone == []
    assert await rig.held() == {"v1", "v2"}
    assert await rig.granted(blob.digest) == {blob.digest}


async def test_a_tag_that_others_move(rig: Rig) -> None:
    """What it leads to now was not verified upstream under its name: after the plan, and before it."""
    await rig.push()
    raw, _ = await rig.push("v2")
    async with rig.pushes.shared():
        evicting = await interrupted(rig)
        await rig.images.point(f"{rig.way.repository}:v1", descriptor(raw))
    assert (await evicting).gone == []
    assert await rig.held() == {"v1", "v2"}
    await rig.evictor.evict(ALL)
    assert await rig.held() == {"v1"}


async def test_images_of_others(rig: Rig) -> None:
    """What was not pushed to us is left alone, whatever it is called, and a tag that others gave to ours stays."""
    raw, _ = await rig.push()
    strange = [f"{rig.way.repository}:ours", f"{rig.way.repository}/other:v1", f"{rig.way.repository.registry}/NO NAME"]
    for name in strange:
        await rig.images.point(name, descriptor(raw))
    await rig.evictor.evict(ALL)
    assert set(strange) <= {record.name for record in await rig.images.list(rig.way.repository.registry)}
    assert await rig.granted(descriptor(raw).digest)


async def test_what_a_builder_was_told(rig: Rig) -> None:
    """A blob that a builder was told of stays granted, for its manifest; later it may go."""
    _, blob = await rig.push()
    await rig.seen.hold(rig.way.repository, blob.digest)
    await rig.evictor.evict(ALL)
    assert await rig.held() == set()
    assert await rig.granted(blob.digest)
    await rig.push("v2", blob)
    rig.way.clock.advance(1800)
    await rig.evictor.evict(ALL)
    assert not await rig.granted(blob.digest)


async def test_the_rules_are_kept_without_being_asked(rig: Rig) -> None:
    """Soon after a push, and now and then; not having been used for long enough is a matter of time alone."""
    await rig.push()
    running = asyncio.create_task(rig.evictor.run())
    await rig.way.clock.until_asleep(30.0)
    for seconds, tags in ((30.0, {"v1"}), (AGE, set[str]())):
        rig.way.clock.advance(seconds)
        await rig.way.clock.until_asleep(1.0)
        assert await rig.held() == tags
        rig.way.clock.advance(1.0)
        await rig.way.clock.until_asleep(30.0)
    running.cancel()
    assert rig.evictor.reason is None


@pytest.mark.parametrize("rules", [Rules()])
async def test_without_rules_pushes_are_nothing_to_look_at(rig: Rig) -> None:
    """Taking stock of a host with many images takes long: where nothing can go, it is done now and then and no more."""
    running = asyncio.create_task(rig.evictor.run())
    await rig.way.clock.until_asleep(30.0)
    rig.way.clock.advance(30.0)
    await rig.way.clock.until_asleep(1.0)
    raw = image(await rig.way.blob())
    task = await rig.way.push(raw)
    await rig.images.point(task.job.image, descriptor(raw))
    for seconds, known in ((30.0, 0), (300.0, 1)):
        rig.way.clock.advance(1.0)
        await rig.way.clock.until_asleep(30.0)
        rig.way.clock.advance(seconds)
        await rig.way.clock.until_asleep(1.0)
        assert len(rig.evictor._pinned) == known
    running.cancel()
