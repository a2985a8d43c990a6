"""The rules on a journal that cannot be written for a while: nothing stops for good, nothing is left behind."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from mirror.containerd.channel import Channel
from mirror.containerd.images import ImageRecords
from mirror.core.access import ANONYMOUS
from mirror.core.concurrency import SharedLock
from mirror.core.drain import Gate
from mirror.core.ports import Content, Images, Leases, UploadRow
from mirror.core.publish import JOB_LEASES, ManifestPush
from mirror.core.push import BlobPush, UploadLimits
from mirror.core.signal import Signal
from mirror.journal.db import Database
from mirror.journal.grants import GrantsTable
from mirror.journal.jobs import JobsTable
from mirror.journal.uploads import UploadsTable
from mirror.oci.manifest import OCI_MANIFEST, Descriptor
from mirror.oci.names import Reference, digest_of
from tests.contract.pushes import REPOSITORY, push, unlimited
from tests.contract.rules.ledger import Ledger
from tests.contract.store import fresh, store
from tests.rig.disk import Disk
from tests.rig.wire import manifest
from tests.unit.clock import EPOCH, ManualClock

V1 = Reference(tag="v1", digest=None)


@pytest.fixture
def disk(directory: Path) -> Iterator[Disk]:
    with Disk(directory / "disk", 1024 * 1024) as disk:
        yield disk


@pytest.fixture
def path(disk: Disk) -> Path:
    return disk.path / "journal.db"


@pytest_asyncio.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    async with Database(path) as database:
        yield database


async def ended(running: "asyncio.Task[None]") -> None:
    """Cancel a task and wait for its end."""
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


class FillingUp(ImageRecords):
    """containerd's image records, on a host whose disk fills up in the moment in which one is moved."""

    def __init__(self, channel: Channel, disk: Disk, journal: Path) -> None:
        super().__init__(channel)
        self._disk = disk
        self._journal = journal

    async def point(self, name: str, target: Descriptor) -> None:
        """Move it, and leave no room for the journal."""
        await super().point(name, target)
        self._disk.fill_for(self._journal)


@pytest.fixture
def images(channel: Channel, disk: Disk, path: Path) -> Images:
    return FillingUp(channel, disk, path)


async def test_a_push_is_acknowledged_once_it_is_in_the_journal(
    database: Database,
    content: Content,
    images: Images,
    leases: Leases,
    lease: str,
    disk: Disk,
    clock: ManualClock,
) -> None:
    """That the leases of its uploads cannot be let go any more is no reason to refuse it: they run out."""
    grants, uploads = GrantsTable(database), UploadsTable(database)
    config, digest = fresh(100)
    await store(content, config, lease)
    await uploads.finish(UploadRow("u1", REPOSITORY, EPOCH), digest, lease)
    pushing = ManifestPush(
        content=content,
        images=images,
        leases=leases,
        grants=grants,
        jobs=JobsTable(database),
        clock=clock,
        new_id=lambda: "full-disk",
        changed=Signal(),
        gate=Gate(),
        admission=unlimited(disk.path / "journal.db"),
        evictions=SharedLock(),
    )
    with capture_logs() as lines:
        raw = manifest(config)
        assert (await pushing.put(REPOSITORY, [V1], OCI_MANIFEST, raw, ANONYMOUS)).manifest.raw == raw
    assert [line["event"] for line in lines] == ["push.acknowledged", "leases.kept"]
    assert {lease, f"{JOB_LEASES}full-disk"} <= set(await leases.list("registry-mirror/"))
    assert {task.job.digest for task in await JobsTable(database).find(REPOSITORY, V1)} == {digest_of(raw)}
    disk.free()
    assert await grants.settle(REPOSITORY, [digest]) == [lease]


async def test_the_sweeper_comes_back(
    database: Database, content: Content, leases: Leases, disk: Disk, path: Path, clock: ManualClock
) -> None:
    """A session whose end cannot be written is dropped by a later sweep."""
    uploads = UploadsTable(database)
    pushing = BlobPush(
        content=content,
        leases=leases,
        uploads=uploads,
        grants=GrantsTable(database),
        clock=clock,
        new_id=lambda: "stale",
        max_age=60.0,
        arrived=lambda *_: None,
        gate=Gate(),
        admission=unlimited(path),
        limits=UploadLimits(),
    )
    await pushing.begin(REPOSITORY)
    disk.fill_for(path)
    with capture_logs() as lines:
        running = asyncio.create_task(pushing.sweep())
        for _ in range(4):
            await clock.until_asleep(30.0)
            clock.advance(30.0)
        await clock.until_asleep(30.0)
    assert {line["event"] for line in lines} == {"upload.expired", "upload.sweep.postponed"}
    assert await uploads.find("stale")
    disk.free()
    clock.advance(30.0)
    await clock.until_asleep(30.0)
    assert await uploads.find("stale") is None
    await ended(running)


async def test_the_reconciler_waits_for_the_journal(
    database: Database, ledger: Ledger, leases: Leases, path: Path, clock: ManualClock
) -> None:
    """A journal that somebody holds is asked again, and what is to be mended is mended then."""
    job = await JobsTable(database).enqueue(push())
    with closing(sqlite3.connect(path, isolation_level=None)) as operator:
        operator.execute("BEGIN IMMEDIATE")
        running = asyncio.create_task(ledger.reconciler.watch())
        await clock.until_asleep(0.5)
        assert job.lease not in await leases.list(JOB_LEASES)
    clock.advance(0.5)
    await clock.until_asleep(10.0)
    await ended(running)
    assert job.lease in await leases.list(JOB_LEASES)
