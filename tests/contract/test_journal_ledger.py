"""What the journal tells, and forgets, when it is compared with containerd."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest_asyncio

from mirror.core.jobs import Kind, Outcome, State
from mirror.core.ports import Grant, UploadRow
from mirror.journal.db import Database
from mirror.journal.grants import GrantsTable
from mirror.journal.jobs import JobsTable
from mirror.journal.uploads import UploadsTable
from mirror.oci.manifest import OCI_MANIFEST, Descriptor
from mirror.oci.names import Digest, Repository
from tests.contract.pushes import REPOSITORY, fresh_digest, push
from tests.unit.clock import EPOCH

OTHER = Repository("registry.example.com", "team/other")
ELSEWHERE = Repository("other.example.com", "team/app")


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(tmp_path / "journal.db") as database:
        yield database


async def read(grants: GrantsTable, digest: Digest) -> Grant:
    """The one grant of a digest."""
    return next(grant for grant in await grants.page(None, 100) if grant.digest == digest)


async def test_who_owns_leases(database: Database) -> None:
    """A session does until it ends; then its blob does, until an image refers to it."""
    uploads, grants, digest = UploadsTable(database), GrantsTable(database), fresh_digest()
    upload = UploadRow("u1", REPOSITORY, EPOCH)
    await uploads.begin(upload)
    assert (await uploads.ids(), await grants.leases()) == ({"u1"}, set())
    await uploads.finish(upload, digest, "lease-1")
    assert (await uploads.ids(), await grants.leases()) == (set(), {"lease-1"})
    await grants.settle(REPOSITORY, [digest])
    assert await grants.leases() == set()


async def test_page_by_page(database: Database) -> None:
    """All grants, each once, in their order, whatever the size of a page; revoked ones say so."""
    grants = GrantsTable(database)
    wanted = [Grant(repository, fresh_digest(), "lease", False) for repository in (ELSEWHERE, OTHER, REPOSITORY) * 3]
    for grant in wanted:
        await grants.grant(grant.repository, grant.digest, "lease")
    await grants.revoke(wanted[0].repository, wanted[0].digest)
    wanted[0] = replace(wanted[0], lease=None, is_revoked=True)
    found: list[Grant] = []
    while page := await grants.page(found[-1] if found else None, 2):
        assert len(page) <= 2
        found += page
    assert found == sorted(wanted, key=lambda grant: (grant.repository, grant.digest))


async def test_holders(database: Database) -> None:
    """Those that hold it now, in any registry."""
    grants, digest = GrantsTable(database), fresh_digest()
    for repository in (REPOSITORY, OTHER, ELSEWHERE):
        await grants.grant(repository, digest, "lease")
    await grants.revoke(OTHER, digest)
    assert await grants.holders(digest) == [ELSEWHERE, REPOSITORY]


async def test_drop(database: Database) -> None:
    """A grant is revoked, and the manifest taken from the lists of referrers; others stay."""
    grants, jobs, subject = GrantsTable(database), JobsTable(database), fresh_digest()
    new = push()
    await jobs.enqueue(replace(new, subject=subject, referrer=Descriptor(new.digest, 7, OCI_MANIFEST)))
    await grants.grant(REPOSITORY, other := fresh_digest(), "lease")
    await grants.drop([await read(grants, new.digest)])
    assert await grants.granted(REPOSITORY, [new.digest, other]) == {other}
    assert await grants.referrers(REPOSITORY, subject) == []


async def test_drop_what_was_pushed_again(database: Database) -> None:
    """Pushed between the look and the drop, it has another lease, and stays."""
    grants, digest = GrantsTable(database), fresh_digest()
    await grants.grant(REPOSITORY, digest, "lease-1")
    seen = await read(grants, digest)
    await grants.grant(REPOSITORY, digest, "lease-2")
    await grants.drop([seen])
    assert await grants.granted(REPOSITORY, [digest]) == {digest}


async def test_forget(database: Database) -> None:
    """What is revoked is deleted, but not in a repository that has a job that is younger than the look."""
    grants, jobs = GrantsTable(database), JobsTable(database)
    newest = (await jobs.enqueue(push(repository=OTHER))).id
    await jobs.enqueue(push(repository=ELSEWHERE))
    digests = [fresh_digest() for _ in range(2)]
    for repository in (REPOSITORY, OTHER, ELSEWHERE):
        for digest in digests:
            await grants.grant(repository, digest, "lease")
        await grants.revoke(repository, digests[0])
    await grants.forget(await grants.page(None, 100), newest)
    assert (await grants.given(REPOSITORY, digests)).keys() == {digests[1]}
    assert (await grants.given(OTHER, digests)).keys() == {digests[1]}
    assert (await grants.given(ELSEWHERE, digests)).keys() == set(digests)


async def test_expedite(database: Database) -> None:
    """What waits for its time is due now; what is parked, and other jobs, are left alone."""
    jobs = JobsTable(database)
    ids = [(await jobs.enqueue(push(tag))).id for tag in ("v1", "v2")]
    for _ in ids:
        task = await jobs.claim(Kind.REPLICATE, EPOCH, 3600)
        assert task is not None
        await jobs.settle(task, Outcome(State.PENDING, "later", EPOCH + 1000))
    task = await jobs.claim(Kind.UNPACK, EPOCH, 0)
    assert task is not None
    await jobs.settle(task, Outcome(State.PARKED, "bad"))
    await jobs.expedite(ids[0])
    states = [(one.kind, one.state, one.not_before) for one in await jobs.tasks(ids[0])]
    assert states == [(Kind.REPLICATE, State.PENDING, 0), (Kind.UNPACK, State.PARKED, 0)]
    assert (await jobs.tasks(ids[1]))[0].not_before == EPOCH + 1000
