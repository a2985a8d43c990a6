"""What retention asks of the journal: which push of a name is the newest, when it was used, and what is dropped."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from mirror.core.jobs import Job, Kind, NewDelete, Outcome, State
from mirror.core.ports import Grants, Jobs, UploadRow, Usage
from mirror.journal.db import Database
from mirror.journal.grants import GrantsTable
from mirror.journal.jobs import JobsTable
from mirror.journal.uploads import UploadsTable
from mirror.journal.usage import UsageTable
from mirror.oci.manifest import OCI_MANIFEST
from mirror.oci.names import Reference, Repository
from tests.contract.pushes import REPOSITORY, fresh_digest, push
from tests.unit.clock import EPOCH

OTHER = Repository(REPOSITORY.registry, "team/other")
HOUR = 3600.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest_asyncio.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    async with Database(path) as database:
        yield database


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return JobsTable(database)


@pytest.fixture
def grants(database: Database) -> Grants:
    return GrantsTable(database)


@pytest.fixture
def usage(database: Database) -> Usage:
    return UsageTable(database)


async def settle(jobs: Jobs, job: Job, kind: Kind, state: State) -> None:
    """Write how a task of a job ended."""
    task = next(task for task in await jobs.tasks(job.id) if task.kind is kind)
    await jobs.settle(task, Outcome(state))


async def test_the_newest_push_of_each_name(jobs: Jobs, usage: Usage) -> None:
    """By tag or by digest, in each repository by itself; pushed later is later."""
    old = await jobs.enqueue(push("v1"))
    untagged = await jobs.enqueue(push(None))
    elsewhere = await jobs.enqueue(push("v1", repository=OTHER))
    new = await jobs.enqueue(push("v1", digest=old.digest))
    assert [one.job for one in await usage.pushes()] == [untagged, elsewhere, new]
    assert [await usage.newest(repository) for repository in (REPOSITORY, OTHER)] == [new.id, elsewhere.id]
    assert await usage.newest(Repository(REPOSITORY.registry, "team/empty")) == 0


@pytest.mark.parametrize(
    ("replicate", "unpack", "expected"),
    [
        (State.DONE, State.DONE, (True, False)),
        (State.DONE, State.SKIPPED, (True, False)),
        (State.DONE, State.PENDING, (True, True)),
        (State.DONE, State.PARKED, (True, False)),
        (State.PENDING, State.DONE, (False, False)),
        (State.PARKED, State.DONE, (False, False)),
        (State.CANCELLED, State.DONE, (False, False)),
    ],
)
async def test_how_far_it_is(
    jobs: Jobs, usage: Usage, replicate: State, unpack: State, expected: tuple[bool, bool]
) -> None:
    """Upstream is only what was seen there; what waits to be unpacked is busy."""
    job = await jobs.enqueue(push())
    for kind, state in ((Kind.REPLICATE, replicate), (Kind.UNPACK, unpack)):
        await settle(jobs, job, kind, state)
    assert [(one.is_upstream, one.is_busy) for one in await usage.pushes()] == [expected]


async def test_a_later_push_is_to_get_upstream_too(jobs: Jobs, usage: Usage) -> None:
    """That the same bytes are there under the same name says nothing about the push after; nor about a delete."""
    first = await jobs.enqueue(push("v1"))
    await settle(jobs, first, Kind.REPLICATE, State.DONE)
    await jobs.enqueue(push("v1", digest=first.digest))
    assert [one.is_upstream for one in await usage.pushes()] == [False]
    reference = Reference(tag="v1", digest=None)
    delete = await jobs.enqueue_delete(NewDelete(REPOSITORY, reference, first.digest, OCI_MANIFEST, EPOCH))
    assert [(one.job, one.is_upstream) for one in await usage.pushes()] == [(delete, False)]


async def test_uses_are_noted_once_an_hour(jobs: Jobs, usage: Usage) -> None:
    """A push is one; a time that is still to come, as the clock was set back, is put right."""
    job = await jobs.enqueue(push(now=EPOCH))

    async def used(now: float) -> float:
        await usage.note(REPOSITORY, job.digest, now)
        return (await usage.pushes())[0].used

    assert (await usage.pushes())[0].used == EPOCH
    times = [EPOCH + 10, EPOCH + 10 + HOUR - 1, EPOCH + 10 + HOUR, EPOCH + 20]
    assert [await used(now) for now in times] == [EPOCH + 10, EPOCH + 10, EPOCH + 10 + HOUR, EPOCH + 20]


async def test_what_is_dropped(database: Database, jobs: Jobs, grants: Grants, usage: Usage) -> None:
    """It is not held any longer, but was given; its job, and what an upload has brought since, stay."""
    job = await jobs.enqueue(push())
    blob, again = fresh_digest(), fresh_digest()
    for digest in (blob, again):
        await grants.grant(REPOSITORY, digest, "lease")
    await grants.settle(REPOSITORY, [blob])
    every = [job.digest, blob, again]
    await usage.drop(REPOSITORY, every)
    assert await grants.granted(REPOSITORY, every) == {again}
    assert set(await grants.given(REPOSITORY, every)) == set(every)
    assert [one.job for one in await usage.pushes()] == [job]
    upload = UploadRow("u", REPOSITORY, EPOCH)
    await UploadsTable(database).finish(upload, blob, "new lease")
    assert await grants.granted(REPOSITORY, every) == {blob, again}


async def test_uses_of_what_is_gone_are_forgotten(path: Path) -> None:
    """When the journal is opened again."""
    async with Database(path) as database:
        jobs, grants, usage = JobsTable(database), GrantsTable(database), UsageTable(database)
        kept, gone = await jobs.enqueue(push("v1")), await jobs.enqueue(push("v2"))
        for job in (kept, gone):
            await usage.note(REPOSITORY, job.digest, EPOCH)
        await grants.revoke(REPOSITORY, gone.digest)
    async with Database(path):
        pass
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT digest FROM uses").fetchall() == [(kept.digest,)]
