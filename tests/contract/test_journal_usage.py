"""What retention asks of the journal: which push of a name is the newest, when it was used, and what is dropped."""

import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from mirror.core.errors import TenantFullError
from mirror.core.jobs import Job, Kind, NewDelete, Outcome, State
from mirror.core.ports import Claim, Grants, Jobs, UploadRow, Uploads, Usage
from mirror.journal.db import Database
from mirror.journal.grants import GrantsTable
from mirror.journal.jobs import JobsTable
from mirror.journal.uploads import UploadsTable
from mirror.journal.usage import UsageTable
from mirror.oci.manifest import OCI_INDEX, OCI_MANIFEST, parse_manifest
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
def uploads(database: Database) -> Uploads:
    return UploadsTable(database)


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


class TestTenants:
    async def test_what_a_tenant_has(self, uploads: Uploads, grants: Grants, usage: Usage) -> None:
        """Each blob counts once, by whatever way and to however many repositories it came, until the last lost it."""
        first, second = fresh_digest(), fresh_digest()
        await uploads.finish(UploadRow("u1", REPOSITORY, EPOCH), first, "lease", Claim("acme", 100))
        await grants.grant(OTHER, first, "lease", Claim("acme", 100))
        await grants.grant(OTHER, first, "again", Claim("acme", 100))
        await grants.grant(OTHER, second, "lease", Claim("acme", 7))
        await grants.settle(OTHER, [first, second])
        assert [await grants.held_by("acme"), await grants.held_by("acme", second)] == [107, 100]
        assert await grants.held_by("globex") == 0
        await grants.revoke(REPOSITORY, first)
        await usage.drop(OTHER, [second])
        assert await grants.held_by("acme") == 100
        await grants.revoke(OTHER, first)
        assert await grants.held_by("acme") == 0
        await grants.grant(OTHER, first, "lease", Claim("acme", 100))
        assert await grants.held_by("acme") == 100

    async def test_who_brought_it_last(self, grants: Grants) -> None:
        """A blob of one repository is one tenant's, and what nobody in particular brings counts for nobody."""
        digest = fresh_digest()
        await grants.grant(REPOSITORY, digest, "lease", Claim("acme", 100))
        await grants.grant(REPOSITORY, digest, "lease", Claim("globex", 100))
        assert [await grants.held_by("acme"), await grants.held_by("globex")] == [0, 100]
        await grants.grant(REPOSITORY, digest, "lease")
        assert [await grants.held_by("acme"), await grants.held_by("globex")] == [0, 0]

    async def test_more_than_it_may_have(self, uploads: Uploads, grants: Grants) -> None:
        """It is refused as a whole: the session is as it was, and so are the sums; what it has may come again."""
        first, second = fresh_digest(), fresh_digest()
        await grants.grant(REPOSITORY, first, "lease", Claim("acme", 100, 150))
        upload = UploadRow("u1", REPOSITORY, EPOCH)
        await uploads.begin(upload)
        with pytest.raises(TenantFullError, match="acme has 100 of 150 bytes"):
            await uploads.finish(upload, second, "lease", Claim("acme", 51, 150))
        assert await uploads.find("u1") == upload
        assert await grants.granted(REPOSITORY, [second]) == set()
        assert await grants.held_by("acme") == 100
        await grants.grant(OTHER, first, "lease", Claim("acme", 100, 150))
        await uploads.finish(upload, second, "lease", Claim("acme", 50, 150))
        assert await grants.held_by("acme") == 150

    async def test_what_is_forgotten(self, grants: Grants) -> None:
        """A grant that is deleted altogether was revoked before, and is not subtracted once more."""
        first, second = fresh_digest(), fresh_digest()
        for digest in (first, second):
            await grants.grant(REPOSITORY, digest, "lease", Claim("acme", 100))
        await grants.revoke(REPOSITORY, first)
        await grants.forget(await grants.page(None, 10), 0)
        assert await grants.held_by("acme") == 100

    async def test_the_sums_are_right(self, path: Path, grants: Grants, usage: Usage) -> None:
        """After whatever happened to grants, they are what counting all of them anew comes to."""
        digests = [fresh_digest() for _ in range(4)]
        chance = random.Random(7)  # noqa: S311 - not for secrets
        for step in range(400):
            repository, number = chance.choice([REPOSITORY, OTHER]), chance.randrange(4)
            match chance.randrange(5):
                case 0:
                    await grants.revoke(repository, digests[number])
                case 1:
                    await usage.drop(repository, [digests[number]])
                case 2:
                    await grants.settle(repository, digests)
                case 3:
                    await grants.forget(await grants.page(None, 2), 0)
                case _:
                    claim = Claim(chance.choice(["acme", "globex", ""]), number + 1)
                    await grants.grant(repository, digests[number], f"lease {step}", claim)
            assert await _counted(grants) == counted_anew(path)


TENANTS = ("acme", "globex")


async def _counted(grants: Grants) -> list[int]:
    return [await grants.held_by(tenant) for tenant in TENANTS]


def counted_anew(path: Path) -> list[int]:
    """The bytes of each tenant's blobs, from the grants alone."""
    query = "SELECT sum(size) FROM (SELECT DISTINCT digest, size FROM holdings WHERE tenant = ?)"
    with closing(sqlite3.connect(path)) as connection:
        return [connection.execute(query, (tenant,)).fetchone()[0] or 0 for tenant in TENANTS]


async def test_pulls(usage: Usage, grants: Grants, jobs: Jobs) -> None:
    """What was pulled, with its last use, until it is pushed or dropped; however much it is."""
    manifests = [parse_manifest(b'{"schemaVersion": 2, "manifests": []%s}' % (b" " * n), OCI_INDEX) for n in range(502)]
    for manifest in manifests:
        await grants.pull(REPOSITORY, manifest, manifest.digest)
    await grants.pull(OTHER, manifests[0], "other")
    await usage.note(REPOSITORY, manifests[0].digest, EPOCH)
    expected = {(REPOSITORY, manifest.digest, None) for manifest in manifests[3:]}
    await jobs.enqueue(push(digest=manifests[1].digest))
    await grants.settle(REPOSITORY, [manifests[2].digest])
    await usage.drop(REPOSITORY, [manifests[2].digest])
    found = {(one.repository, one.digest, one.used) for one in await usage.pulls()}
    assert found == expected | {(REPOSITORY, manifests[0].digest, EPOCH), (OTHER, manifests[0].digest, None)}
