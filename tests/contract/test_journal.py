"""The journal on a real SQLite file: its three ports, and what a crash may and may not take."""

import asyncio
import math
import signal
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from mirror.core.jobs import ON_PUSH, Job, Kind, NewDelete, NewJob, Outcome, State, Task
from mirror.core.ports import Grant, Grants, Jobs, Recompressed, UploadRow, Uploads
from mirror.core.timeline import Arrival, Blobs, Timeline
from mirror.journal.conversions import ConversionsTable
from mirror.journal.db import Database, JournalDamagedError, JournalError, Session
from mirror.journal.grants import GrantsTable
from mirror.journal.jobs import JobsTable
from mirror.journal.migrate import migrations
from mirror.journal.uploads import UploadsTable
from mirror.oci.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor, parse_manifest
from mirror.oci.names import Reference, Repository
from tests.contract.pushes import REPOSITORY, fresh_digest, push
from tests.unit.clock import EPOCH

OTHER = Repository("registry.example.com", "team/other")
ELSEWHERE = Repository("other.example.com", "team/app")
HORIZON = 3600.0
WEEK = 7 * 86400.0
DONE = Outcome(State.DONE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


@pytest_asyncio.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    async with Database(path) as database:
        yield database


@pytest.fixture
def grants(database: Database) -> Grants:
    return GrantsTable(database)


@pytest.fixture
def uploads(database: Database) -> Uploads:
    return UploadsTable(database)


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return JobsTable(database)


PUSHER = """
import asyncio, sys
from pathlib import Path
from mirror.core.jobs import Kind
from mirror.journal.db import Database
from mirror.journal.jobs import JobsTable
from tests.contract.pushes import push

async def main() -> None:
    async with Database(Path(sys.argv[1])) as database:
        job = await JobsTable(database).enqueue(push())
        await JobsTable(database).claim(Kind.REPLICATE, job.created, 0)
        print(job.digest, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def busy(database: Database, statements: list[str]) -> AsyncIterator[None]:
    """A journal that is at work until the end of this; `statements` gets what it runs from then on."""
    begun, go = threading.Event(), threading.Event()

    def work(session: Session) -> None:
        session._connection.set_trace_callback(statements.append)
        begun.set()
        go.wait()

    working = asyncio.ensure_future(database.transact(work))
    await asyncio.to_thread(begun.wait)
    try:
        yield
    finally:
        go.set()
        await working


async def claim(jobs: Jobs, kind: Kind = Kind.REPLICATE, now: float = EPOCH) -> Task:
    """Claim a task that must be there."""
    task = await jobs.claim(kind, now, HORIZON)
    assert task is not None
    return task


async def finish(jobs: Jobs, *outcomes: Outcome) -> None:
    """Claim the oldest due task of each kind and settle it."""
    for kind, outcome in zip(ON_PUSH, outcomes, strict=True):
        await jobs.settle(await claim(jobs, kind), outcome)


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> bytes:
    """Change a file; returns what is in it now."""
    changed = change(path.read_bytes())
    path.write_bytes(changed)
    return changed


class TestUploads:
    async def test_a_session_from_beginning_to_end(self, uploads: Uploads) -> None:
        """It is found as it was begun, moves with each use, and is gone after its end."""
        upload = UploadRow("u1", REPOSITORY, EPOCH, "basic:alice")
        await uploads.begin(upload)
        assert await uploads.find("u1") == upload
        await uploads.touch("u1", EPOCH + 5)
        later = UploadRow("u1", REPOSITORY, EPOCH + 5, "basic:alice")
        assert await uploads.find("u1") == later
        assert await uploads.stale(math.inf) == [later]
        await uploads.end("u1")
        assert await uploads.find("u1") is None

    async def test_what_does_not_exist(self, uploads: Uploads) -> None:
        """An unknown session is None, and touching or ending it is no error."""
        await uploads.touch("u1", EPOCH)
        await uploads.end("u1")
        assert await uploads.find("u1") is None

    async def test_stale_sessions(self, uploads: Uploads) -> None:
        """Those last used before the moment, the longest unused first."""
        rows = {age: UploadRow(f"u{age}", REPOSITORY, EPOCH - age) for age in (10, 30, 20)}
        for row in rows.values():
            await uploads.begin(row)
        assert await uploads.stale(EPOCH - 15) == [rows[30], rows[20]]
        assert await uploads.stale(EPOCH - 30) == []

    async def test_finishing_grants_the_blob_and_ends_the_session(self, uploads: Uploads, grants: Grants) -> None:
        """Both or neither; a second upload of the blob hands back the lease of the first."""
        digest = fresh_digest()
        upload = UploadRow("u1", REPOSITORY, EPOCH)
        await uploads.begin(upload)
        assert await uploads.finish(upload, digest, "lease 1") is None
        assert await uploads.find("u1") is None
        assert await grants.granted(REPOSITORY, [digest]) == {digest}
        assert await uploads.finish(UploadRow("u2", REPOSITORY, EPOCH), digest, "lease 2") == "lease 1"
        assert await grants.settle(REPOSITORY, [digest]) == ["lease 2"]
        assert await uploads.finish(UploadRow("u3", REPOSITORY, EPOCH), digest, "lease 3") is None


class TestConversions:
    async def test_what_a_layer_became(self, database: Database) -> None:
        """It is known by layer and level; the last word counts."""
        conversions, layer = ConversionsTable(database), fresh_digest()
        assert await conversions.find(layer, 3) is None
        first, second = (Recompressed(fresh_digest(), size, 100) for size in (10, 20))
        await conversions.note(layer, 3, first, EPOCH)
        assert await conversions.find(layer, 3) == first
        assert await conversions.find(layer, 4) is None
        await conversions.note(layer, 3, second, EPOCH)
        assert await conversions.find(layer, 3) == second

    async def test_the_last_thing_to_do_for_a_job(self, jobs: Jobs) -> None:
        """All else is over before it, and a replication that needs a person is not; a drain does not wait for it."""
        await jobs.enqueue(replace(push(), convert=True))
        for kind in ON_PUSH:
            assert await jobs.claim(Kind.CONVERT, EPOCH, HORIZON) is None
            task = await claim(jobs, kind)
            assert await jobs.claim(Kind.CONVERT, EPOCH, HORIZON) is None
            await jobs.settle(task, Outcome(State.PARKED, "why"))
        assert await jobs.claim(Kind.CONVERT, EPOCH, HORIZON) is None
        assert await jobs.next_due(Kind.CONVERT) is None
        await jobs.retry(task.job.id)
        await jobs.settle(await claim(jobs, Kind.REPLICATE), Outcome(State.DONE))
        await jobs.settle(await claim(jobs, Kind.UNPACK), Outcome(State.PARKED, "no tar"))
        assert await jobs.backlog() == {State.PARKED: 1}
        assert await jobs.next_due(Kind.CONVERT) == 0
        assert (await claim(jobs, Kind.CONVERT)).job == task.job
        assert await jobs.needs_lease(task.job)


class TestGrants:
    async def test_what_certain_leases_hold(self, uploads: Uploads, grants: Grants) -> None:
        """It is found by how their names begin, until it is settled or revoked."""
        digests = [fresh_digest() for _ in range(4)]
        for number, lease in enumerate(["made-1", "made-2", "made-3", "1-made-"]):
            await uploads.finish(UploadRow(f"u{number}", REPOSITORY, EPOCH), digests[number], lease)
        assert {grant.digest for grant in await grants.loose("made-")} == set(digests[:3])
        await grants.settle(REPOSITORY, [digests[0]])
        await grants.revoke(REPOSITORY, digests[1])
        assert await grants.loose("made-") == [Grant(REPOSITORY, digests[2], "made-3", is_revoked=False)]

    async def test_a_grant_is_one_repositorys(self, uploads: Uploads, grants: Grants) -> None:
        """Neither another repository nor the same path of another registry sees it."""
        digest, unknown = fresh_digest(), fresh_digest()
        await uploads.finish(UploadRow("u1", REPOSITORY, EPOCH), digest, "lease")
        assert await grants.granted(REPOSITORY, [digest, unknown]) == {digest}
        assert await grants.granted(REPOSITORY, []) == set()
        for stranger in (OTHER, ELSEWHERE):
            assert await grants.granted(stranger, [digest]) == set()
            assert await grants.settle(stranger, [digest]) == []

    async def test_a_blob_is_no_manifest(self, uploads: Uploads, grants: Grants, jobs: Jobs) -> None:
        """Only what was pushed as a manifest has a media type, and an upload of its bytes does not take it away."""
        digest = fresh_digest()
        await uploads.finish(UploadRow("u1", REPOSITORY, EPOCH), digest, "lease")
        assert await grants.media_type(REPOSITORY, digest) is None
        assert await grants.media_type(REPOSITORY, fresh_digest()) is None
        await jobs.enqueue(push(digest=digest))
        await uploads.finish(UploadRow("u2", REPOSITORY, EPOCH), digest, "lease")
        assert await grants.media_type(REPOSITORY, digest) == OCI_MANIFEST
        assert await grants.media_type(OTHER, digest) is None

    async def test_what_was_revoked_is_held_no_more_but_was_given(
        self, uploads: Uploads, grants: Grants, jobs: Jobs
    ) -> None:
        """A repository that gave content up does not hold it, but jobs still know that it did; a new push undoes it."""
        blob, listed = fresh_digest(), push(tag=None)
        await uploads.finish(UploadRow("u1", REPOSITORY, EPOCH), blob, "lease")
        await jobs.enqueue(listed)
        both = [blob, listed.digest]
        assert await grants.revoke(REPOSITORY, blob) == "lease"
        assert await grants.revoke(REPOSITORY, listed.digest) is None
        assert await grants.revoke(REPOSITORY, fresh_digest()) is None
        assert await grants.granted(REPOSITORY, both) == set()
        assert await grants.media_type(REPOSITORY, listed.digest) is None
        assert await grants.given(REPOSITORY, [*both, fresh_digest()]) == {blob: None, listed.digest: OCI_MANIFEST}
        assert await grants.given(OTHER, both) == {}
        assert not await grants.exists(REPOSITORY)
        assert not await grants.anywhere(REPOSITORY.registry, blob)
        assert await grants.grant(REPOSITORY, blob, "again") is None
        await jobs.enqueue(listed)
        assert await grants.granted(REPOSITORY, both) == set(both)

    async def test_which_repositories_there_are(self, grants: Grants) -> None:
        """Those of one registry that hold anything, in ASCII order, page by page; and whether any holds a digest."""
        digest = fresh_digest()
        for path in ("b", "a/b", "a-b", "c"):
            await grants.grant(Repository(REPOSITORY.registry, path), digest, "lease")
        await grants.grant(ELSEWHERE, fresh_digest(), "lease")
        assert await grants.repositories(REPOSITORY.registry, "", 3) == ["a-b", "a/b", "b"]
        assert await grants.repositories(REPOSITORY.registry, "b", 3) == ["c"]
        assert await grants.exists(Repository(REPOSITORY.registry, "a-b"))
        assert not await grants.exists(REPOSITORY)
        assert await grants.anywhere(REPOSITORY.registry, digest)
        assert not await grants.anywhere(ELSEWHERE.registry, digest)

    async def test_referrers(self, grants: Grants, jobs: Jobs) -> None:
        """They are listed as they were pushed, each once, in their order, until they are revoked."""
        subject = fresh_digest()
        pushes = [
            replace(push(tag=None), subject=subject, referrer=Descriptor(fresh_digest(), n, annotations={"n": str(n)}))
            for n in range(2)
        ]
        for new in [*pushes, pushes[0]]:
            await jobs.enqueue(new)
        assert await grants.referrers(REPOSITORY, subject) == [new.referrer for new in pushes]
        assert await grants.referrers(OTHER, subject) == []
        await grants.revoke(REPOSITORY, pushes[0].digest)
        assert await grants.referrers(REPOSITORY, subject) == [pushes[1].referrer]

    async def test_what_was_pulled(self, grants: Grants, jobs: Jobs) -> None:
        """It is loose until an image refers to it, and pulled until it is pushed."""
        manifest = parse_manifest(b'{"schemaVersion": 2, "manifests": []}', OCI_INDEX)
        assert await grants.pull(REPOSITORY, manifest, "lease 1") is None
        assert await grants.media_type(REPOSITORY, manifest.digest) == OCI_INDEX
        assert await grants.leases() == {"lease 1"}
        assert await grants.pull(REPOSITORY, manifest, "lease 2") == "lease 1"
        assert await grants.is_pulled(REPOSITORY, manifest.digest)
        assert await grants.is_loose(REPOSITORY, manifest.digest)
        assert await grants.settle(REPOSITORY, [manifest.digest]) == ["lease 2"]
        assert await grants.is_pulled(REPOSITORY, manifest.digest)
        assert not await grants.is_loose(REPOSITORY, manifest.digest)
        assert not await grants.is_pulled(OTHER, manifest.digest)
        await jobs.enqueue(push(digest=manifest.digest))
        assert not await grants.is_pulled(REPOSITORY, manifest.digest)

    async def test_what_was_pushed_stays_that(self, grants: Grants, jobs: Jobs) -> None:
        """A pull does not make it the upstream's, unless it was deleted here."""
        manifest = parse_manifest(b'{"schemaVersion": 2, "manifests": []}', OCI_INDEX)
        await jobs.enqueue(push(digest=manifest.digest))
        await grants.pull(REPOSITORY, manifest, "lease 1")
        assert not await grants.is_pulled(REPOSITORY, manifest.digest)
        await grants.revoke(REPOSITORY, manifest.digest)
        await grants.pull(REPOSITORY, manifest, "lease 2")
        assert await grants.is_pulled(REPOSITORY, manifest.digest)

    async def test_a_pulled_referrer(self, grants: Grants) -> None:
        """It is listed like one that was pushed."""
        subject = Descriptor(digest=fresh_digest(), size=1, media_type=OCI_MANIFEST)
        document = {"schemaVersion": 2, "manifests": [], "subject": msgspec.to_builtins(subject)}
        manifest = parse_manifest(msgspec.json.encode(document), OCI_INDEX)
        await grants.pull(REPOSITORY, manifest, "lease")
        assert await grants.referrers(REPOSITORY, subject.digest) == [manifest.referrer]

    async def test_settling_once(self, uploads: Uploads, grants: Grants) -> None:
        """The leases of uploads are handed out once; the grants stay."""
        digests = [fresh_digest(), fresh_digest()]
        for number, digest in enumerate(digests):
            await uploads.finish(UploadRow(str(number), REPOSITORY, EPOCH), digest, f"lease {number}")
        assert await grants.settle(REPOSITORY, [*digests, fresh_digest()]) == ["lease 0", "lease 1"]
        assert await grants.settle(REPOSITORY, digests) == []
        assert await grants.granted(REPOSITORY, digests) == set(digests)


class TestOperating:
    async def test_a_parked_task_is_tried_again(self, jobs: Jobs) -> None:
        """It is due now, whatever time it was to wait for, with its failures and the last reason kept."""
        job = await jobs.enqueue(push())
        await finish(jobs, Outcome(State.PENDING, "503", EPOCH + 60), Outcome(State.PARKED, "no tar"))
        assert sorted(await jobs.retry(job.id)) == [(job.id, Kind.REPLICATE), (job.id, Kind.UNPACK)]
        for kind, reason in ((Kind.REPLICATE, "503"), (Kind.UNPACK, "no tar")):
            task = await claim(jobs, kind)
            assert (task.attempts, task.reason) == (1, reason)

    async def test_what_is_not_tried_again(self, jobs: Jobs) -> None:
        """What is due anyway, is running, or is over; of other jobs nothing."""
        job, other = await jobs.enqueue(push("a")), await jobs.enqueue(push("b"))
        assert await jobs.retry(job.id) == []
        await claim(jobs)
        await jobs.settle(await claim(jobs), Outcome(State.PARKED, "401"))
        for state in (State.DONE, State.SKIPPED):
            await jobs.settle(await claim(jobs, Kind.UNPACK), Outcome(state))
        assert await jobs.retry(job.id) == []
        assert await jobs.retry(99) == []
        assert await jobs.retry(None) == [(other.id, Kind.REPLICATE)]

    async def test_a_job_is_given_up(self, jobs: Jobs) -> None:
        """Waiting and parked tasks are over for good, with the reason; those that were over stay as they were."""
        job, parked = await jobs.enqueue(push("a")), await jobs.enqueue(push("b"))
        await jobs.settle(await claim(jobs, Kind.UNPACK), DONE)
        assert await jobs.cancel(job.id, "why") == [Kind.REPLICATE]
        assert [(task.state, task.reason) for task in await jobs.tasks(job.id)] == [
            (State.CANCELLED, "why"),
            (State.DONE, ""),
        ]
        await finish(jobs, Outcome(State.PARKED, "401"), Outcome(State.PARKED, "no tar"))
        assert sorted(await jobs.cancel(parked.id, "why")) == sorted(ON_PUSH)
        assert await jobs.retry(None) == []
        assert await jobs.cancel(parked.id, "again") == []
        assert await jobs.cancel(99, "why") == []

    async def test_what_is_running_is_not_given_up(self, jobs: Jobs) -> None:
        """Nothing of a job is, while one of its tasks is being attempted."""
        job = await jobs.enqueue(push())
        await claim(jobs)
        assert await jobs.cancel(job.id, "why") == []
        assert {task.state for task in await jobs.tasks(job.id)} == {State.RUNNING, State.PENDING}

    async def test_everything_that_waits_is_due(self, jobs: Jobs) -> None:
        """Whatever its kind; what is parked stays parked."""
        await jobs.enqueue(push())
        await finish(jobs, Outcome(State.PENDING, "503", EPOCH + 60), Outcome(State.PENDING, "away", EPOCH + 60))
        parked = await jobs.enqueue(push("v2"))
        await finish(jobs, Outcome(State.PARKED, "401"), DONE)
        await jobs.hurry(None)
        for kind in ON_PUSH:
            assert (await claim(jobs, kind)).job != parked
        assert await jobs.claim(Kind.REPLICATE, EPOCH, HORIZON) is None

    async def test_the_backlog(self, jobs: Jobs) -> None:
        """What is not over, of all kinds; nothing when everything is."""
        await jobs.enqueue(push("a"))
        await finish(jobs, DONE, DONE)
        assert await jobs.backlog() == {}
        await jobs.enqueue(push("b"))
        await finish(jobs, Outcome(State.PARKED, "401"), Outcome(State.PARKED, "no tar"))
        await jobs.enqueue(push("c"))
        await claim(jobs)
        assert await jobs.backlog() == {State.PENDING: 1, State.RUNNING: 1, State.PARKED: 2}

    async def test_in_a_state(self, jobs: Jobs) -> None:
        """The tasks of that state alone, oldest first, no more than asked for."""
        pushed = [await jobs.enqueue(push(tag)) for tag in ("a", "b", "c")]
        await jobs.settle(await claim(jobs), DONE)
        assert [task.job for task in await jobs.in_state(State.DONE, 9)] == pushed[:1]
        assert [task.job for task in await jobs.in_state(State.PENDING, 2)] == pushed[:2]
        assert await jobs.in_state(State.CANCELLED, 9) == []

    async def test_pushed_again(self, jobs: Jobs) -> None:
        """A later push of the deleted tag, or of the deleted digest under any name, that does not wait any more."""
        pushed = push()

        async def delete(reference: Reference) -> Job:
            return await jobs.enqueue_delete(NewDelete(REPOSITORY, reference, pushed.digest, OCI_MANIFEST, EPOCH))

        async def replicate(new: NewJob) -> None:
            await jobs.enqueue(new)
            await claim(jobs)

        await replicate(pushed)
        by_tag, by_digest = await delete(pushed.reference), await delete(Reference(None, pushed.digest))
        for job in (by_tag, by_digest, await delete(pushed.reference)):
            await jobs.cancel(job.id, "as good as parked")
        await replicate(push(repository=OTHER, digest=pushed.digest))
        assert not await jobs.pushed_again(by_tag)
        assert not await jobs.pushed_again(by_digest)
        await replicate(push("v2", digest=pushed.digest))
        assert not await jobs.pushed_again(by_tag)
        assert await jobs.pushed_again(by_digest)
        await jobs.settle((await jobs.in_state(State.RUNNING, 1))[0], DONE)
        await jobs.enqueue(push())
        assert not await jobs.pushed_again(by_tag)
        await claim(jobs)
        assert await jobs.pushed_again(by_tag)


class TestEnqueue:
    @pytest.mark.parametrize("tag", ["v1", None])
    async def test_a_job_has_both_tasks_and_grants_its_manifest(
        self, jobs: Jobs, grants: Grants, tag: str | None
    ) -> None:
        """What is claimed is what was pushed, by tag and by digest."""
        new = push(tag)
        job = await jobs.enqueue(new)
        assert (job.repository, job.reference, job.digest) == (new.repository, new.reference, new.digest)
        assert (job.media_type, job.lease, job.created) == (new.media_type, new.lease, new.now)
        assert await grants.media_type(REPOSITORY, new.digest) == OCI_MANIFEST
        for kind in ON_PUSH:
            assert await claim(jobs, kind) == Task(job, kind, State.RUNNING, 0, 0.0, "")

    async def test_ids_only_grow(self, jobs: Jobs, database: Database) -> None:
        """An id is never used again, even when the newest jobs have been deleted."""
        ids = [(await jobs.enqueue(push())).id for _ in range(3)]
        await database.transact(lambda session: session._connection.execute("DELETE FROM jobs"))
        ids += [(await jobs.enqueue(push())).id for _ in range(2)]
        assert all(earlier < later for earlier, later in pairwise(ids))


class TestClaim:
    async def test_oldest_first_and_each_once(self, jobs: Jobs) -> None:
        """Tasks of different tags come in the order of their pushes, until there is none."""
        pushed = [(await jobs.enqueue(push(tag))).id for tag in ("a", "b", "c")]
        assert [(await claim(jobs)).job.id for _ in pushed] == pushed
        assert await jobs.claim(Kind.REPLICATE, EPOCH, HORIZON) is None

    async def test_one_tag_is_never_worked_on_twice(self, jobs: Jobs) -> None:
        """A later push of a tag waits for the earlier one; another tag, repository or kind does not."""
        first, second = await jobs.enqueue(push()), await jobs.enqueue(push())
        others = [
            await jobs.enqueue(other) for other in (push("v2"), push(repository=OTHER), push(repository=ELSEWHERE))
        ]
        running = await claim(jobs)
        assert running.job == first
        assert {(await claim(jobs)).job for _ in others} == set(others)
        assert await jobs.claim(Kind.REPLICATE, EPOCH, HORIZON) is None
        assert await jobs.next_due(Kind.REPLICATE) is None
        assert (await claim(jobs, Kind.UNPACK)).job == first
        await jobs.settle(running, DONE)
        assert (await claim(jobs)).job == second

    async def test_pushes_by_digest_do_not_wait_for_each_other(self, jobs: Jobs) -> None:
        """Two digests of one repository have no name in common."""
        pushed = [await jobs.enqueue(push(None)) for _ in range(2)]
        assert [(await claim(jobs)).job for _ in pushed] == pushed

    async def test_a_task_that_waits(self, jobs: Jobs) -> None:
        """It is due at its time and not before, with its failures counted and the last reason kept."""
        await jobs.enqueue(push())
        await jobs.settle(await claim(jobs), Outcome(State.PENDING, "503", EPOCH + 10))
        assert await jobs.next_due(Kind.REPLICATE) == EPOCH + 10
        assert await jobs.claim(Kind.REPLICATE, EPOCH + 9.9, HORIZON) is None
        task = await claim(jobs, now=EPOCH + 10)
        assert (task.attempts, task.reason) == (1, "503")

    async def test_while_one_push_waits_a_later_one_of_the_tag_goes_on(self, jobs: Jobs) -> None:
        """A waiting task does not hold its tag: what matters is what is running."""
        await jobs.enqueue(push())
        await jobs.settle(await claim(jobs), Outcome(State.PENDING, "503", EPOCH + 10))
        later = await jobs.enqueue(push())
        assert (await claim(jobs)).job == later
        assert await jobs.claim(Kind.REPLICATE, EPOCH + 10, HORIZON) is None

    async def test_a_clock_set_back(self, jobs: Jobs) -> None:
        """A task due further ahead than any wait can be is due now; one that is within the horizon waits."""
        await jobs.enqueue(push())
        await jobs.settle(await claim(jobs), Outcome(State.PENDING, "503", EPOCH + HORIZON))
        assert await jobs.claim(Kind.REPLICATE, EPOCH, HORIZON) is None
        assert await jobs.claim(Kind.REPLICATE, EPOCH - 1, HORIZON) is not None

    @pytest.mark.parametrize("state", [State.DONE, State.SKIPPED, State.PARKED, State.CANCELLED])
    async def test_what_is_finished_is_never_due(self, jobs: Jobs, state: State) -> None:
        """Neither claimed nor waited for; the other kind is untouched."""
        await jobs.enqueue(push())
        await jobs.settle(await claim(jobs), Outcome(state))
        assert await jobs.claim(Kind.REPLICATE, EPOCH, HORIZON) is None
        assert await jobs.next_due(Kind.REPLICATE) is None
        assert await jobs.next_due(Kind.UNPACK) == 0.0

    async def test_nothing_is_due_in_an_empty_journal(self, jobs: Jobs) -> None:
        """No task, no time."""
        assert await jobs.claim(Kind.UNPACK, EPOCH, HORIZON) is None
        assert await jobs.next_due(Kind.UNPACK) is None


class TestFinding:
    async def test_the_newest_push_of_a_tag(self, jobs: Jobs) -> None:
        """Both tasks of the newest job; an earlier one is still found by its digest."""
        first, second = await jobs.enqueue(push()), await jobs.enqueue(push())
        by_tag = await jobs.find(REPOSITORY, Reference(tag="v1", digest=None))
        assert {(task.job.id, task.kind) for task in by_tag} == {(second.id, kind) for kind in ON_PUSH}
        by_digest = await jobs.find(REPOSITORY, Reference(tag=None, digest=first.digest))
        assert {task.job.id for task in by_digest} == {first.id}

    async def test_the_delete_of_a_tag_says_nothing_of_the_digest(self, jobs: Jobs) -> None:
        """By digest a push is found until the digest itself is deleted; by tag, the delete is the newest job."""
        pushed = await jobs.enqueue(push())
        names = (pushed.reference, Reference(None, pushed.digest))
        for name, found in ((names[0], ("delete", "push")), (names[1], ("delete", "delete"))):
            await jobs.enqueue_delete(NewDelete(REPOSITORY, name, pushed.digest, OCI_MANIFEST, EPOCH))
            kinds = [{task.kind for task in await jobs.find(REPOSITORY, name)} for name in names]
            assert kinds == [{Kind.DELETE} if what == "delete" else set(ON_PUSH) for what in found]

    async def test_the_tasks_of_one_job(self, jobs: Jobs) -> None:
        """All of them and no other's; none of a job that there is not."""
        assert await jobs.newest() == 0
        job, other = await jobs.enqueue(push()), await jobs.enqueue(push())
        assert [(task.job, task.kind) for task in await jobs.tasks(job.id)] == [(job, kind) for kind in ON_PUSH]
        assert await jobs.tasks(99) == ()
        assert await jobs.newest() == other.id

    async def test_what_is_not_over_or_new(self, jobs: Jobs) -> None:
        """Jobs with something to do, whole, and those since a moment, over or not; the oldest when there are many."""
        pushed = [await jobs.enqueue(push(tag)) for tag in ("over", "parked", "waiting")]
        await finish(jobs, DONE, DONE)
        await finish(jobs, Outcome(State.PARKED, "401"), DONE)
        since = await jobs.since(pushed[-1].id, 9)
        assert [(task.job, task.kind) for task in since] == [(job, kind) for job in pushed[1:] for kind in ON_PUSH]
        assert {task.job for task in await jobs.since(0, 9)} == set(pushed)
        assert {task.job for task in await jobs.since(0, 2)} == set(pushed[:2])

    async def test_what_was_never_pushed(self, jobs: Jobs) -> None:
        """No tasks, in no other repository either."""
        await jobs.enqueue(push())
        for repository, tag in ((REPOSITORY, "v2"), (OTHER, "v1"), (ELSEWHERE, "v1")):
            assert await jobs.find(repository, Reference(tag=tag, digest=None)) == ()

    async def test_superseded(self, jobs: Jobs) -> None:
        """Only by a later push of the same tag; a push by digest never is."""
        first, by_digest = await jobs.enqueue(push()), await jobs.enqueue(push(None))
        for other in (push("v2"), push(repository=OTHER), push(None, digest=by_digest.digest)):
            await jobs.enqueue(other)
        assert not await jobs.superseded(first)
        second = await jobs.enqueue(push())
        assert await jobs.superseded(first)
        assert not await jobs.superseded(second)
        assert not await jobs.superseded(by_digest)

    async def test_unfinished_tasks_and_counts(self, jobs: Jobs) -> None:
        """Waiting, running and parked tasks, oldest first and no more than asked for; counts say it all."""
        await jobs.enqueue(push("a"))
        await finish(jobs, DONE, Outcome(State.PARKED, "no tar"))
        await jobs.enqueue(push("b"))
        await claim(jobs)
        expected = [("a", Kind.UNPACK), ("b", Kind.REPLICATE), ("b", Kind.UNPACK)]
        assert [(task.job.reference.tag, task.kind) for task in await jobs.unfinished(10)] == expected
        assert len(await jobs.unfinished(2)) == 2
        assert await jobs.counts() == {
            (Kind.REPLICATE, State.DONE): 1,
            (Kind.REPLICATE, State.RUNNING): 1,
            (Kind.UNPACK, State.PARKED): 1,
            (Kind.UNPACK, State.PENDING): 1,
        }


@pytest.mark.parametrize(
    ("replicate", "unpack", "held"),
    [
        (State.PENDING, State.DONE, True),
        (State.PARKED, State.DONE, True),
        (State.PARKED, State.PARKED, True),
        (State.DONE, State.PENDING, True),
        (State.DONE, State.PARKED, False),
        (State.DONE, State.DONE, False),
        (State.DONE, State.SKIPPED, False),
        (State.CANCELLED, State.PENDING, True),
        (State.CANCELLED, State.DONE, False),
    ],
)
async def test_whose_lease_is_kept(jobs: Jobs, replicate: State, unpack: State, *, held: bool) -> None:
    """Until it is upstream, parked or not, and until it is unpacked or cannot be."""
    job = await jobs.enqueue(push())
    assert await jobs.held() == [job]
    await finish(jobs, Outcome(replicate, "?", EPOCH), Outcome(unpack, "?", EPOCH))
    assert await jobs.held() == ([job] if held else [])


@pytest.mark.parametrize(
    ("age", "replicate", "forgotten"),
    [
        (WEEK + 1, State.DONE, True),
        (WEEK - 1, State.DONE, False),
        (WEEK + 1, State.CANCELLED, True),
        (WEEK + 1, State.PARKED, False),
        (WEEK + 1, State.PENDING, False),
    ],
)
async def test_what_is_forgotten(jobs: Jobs, age: float, replicate: State, *, forgotten: bool) -> None:
    """A push that was replaced by a later one goes when it is finished and over a week older; its neighbours stay."""
    old, neighbour = await jobs.enqueue(push(now=EPOCH - age)), await jobs.enqueue(push("v2", now=EPOCH - age))
    await finish(jobs, Outcome(replicate, "?", EPOCH + 1), DONE)
    await finish(jobs, DONE, DONE)
    await jobs.enqueue(push())
    await jobs.settle(await claim(jobs, Kind.UNPACK), DONE)
    found = {job.digest: await jobs.find(REPOSITORY, Reference(None, job.digest)) for job in (old, neighbour)}
    assert found[neighbour.digest]
    assert (found[old.digest] == ()) is forgotten


class TestTimeline:
    async def test_the_moments_of_a_push(self, path: Path) -> None:
        """They outlive the daemon: how it came, the first attempts, and the ends of those that left nothing to do."""
        arrival = Arrival(1.0, 2.0, Blobs(3, 4), Blobs(5, 6))
        async with Database(path) as database:
            jobs: Jobs = JobsTable(database)
            job = await jobs.enqueue(replace(push(), arrival=arrival))
            for now, outcome in ((EPOCH + 1, Outcome(State.PENDING, "503")), (EPOCH + 3, DONE)):
                await jobs.settle(await claim(jobs, now=now), outcome, now + 1)
            unpacking = await claim(jobs, Kind.UNPACK, EPOCH + 5)
        async with Database(path) as database:
            jobs = JobsTable(database)
            assert (await jobs.tasks(job.id))[0].job.timeline == Timeline(
                arrival, EPOCH + 5, None, EPOCH + 1, EPOCH + 4
            )
            await jobs.settle(unpacking, Outcome(State.SKIPPED), EPOCH + 6)
            assert (await jobs.tasks(job.id))[1].job.timeline.unpacked == EPOCH + 6

    async def test_what_did_not_end_well_has_no_end(self, jobs: Jobs) -> None:
        """Nor does a delete say of a push that it was replicated."""
        await jobs.enqueue(push())
        await jobs.settle(await claim(jobs), Outcome(State.PARKED, "401"), EPOCH + 1)
        (task,) = await jobs.in_state(State.PARKED, 1)
        assert task.job.timeline == Timeline(replication_begun=EPOCH)
        await jobs.enqueue_delete(NewDelete(REPOSITORY, Reference("b", None), fresh_digest(), OCI_MANIFEST, EPOCH))
        await jobs.settle(await claim(jobs, Kind.DELETE), DONE, EPOCH + 1)
        (task,) = await jobs.in_state(State.DONE, 1)
        assert task.job.timeline == Timeline()


class TestFile:
    async def test_running_is_pending_again_after_a_restart(self, path: Path) -> None:
        """What an ended process was working on is there for the next, its failures still counted."""
        async with Database(path) as database:
            await JobsTable(database).enqueue(push())
            await JobsTable(database).settle(await claim(JobsTable(database)), Outcome(State.PENDING, "503", EPOCH))
            before = await claim(JobsTable(database))
        async with Database(path) as database:
            assert await claim(JobsTable(database)) == before

    async def test_a_kill_takes_nothing_that_was_acknowledged(self, path: Path) -> None:
        """A process that is killed the moment `enqueue` returned leaves the job, running tasks are pending again."""
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PUSHER, str(path), stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        digest = (await child.stdout.readline()).decode()
        child.kill()
        assert await child.wait() == -signal.SIGKILL
        async with Database(path) as database:
            counts = await JobsTable(database).counts()
            assert (await claim(JobsTable(database))).job.digest == digest.strip()
            assert counts == {(kind, State.PENDING): 1 for kind in ON_PUSH}

    async def test_every_commit_is_synced(self, database: Database) -> None:
        """WAL with FULL synchronisation: the promise behind a 201, where no test can cut the power."""

        def pragmas(session: Session) -> list[object]:
            names = ("journal_mode", "synchronous", "foreign_keys")
            return [session._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

        assert await database.transact(pragmas) == ["wal", 2, 1]

    async def test_work_that_raises_leaves_nothing(self, database: Database) -> None:
        """Statements before the exception are rolled back, it comes out as it is, and the next transaction works."""
        uploads = UploadsTable(database)

        def work(session: Session) -> None:
            session.rows("begin_upload", id="u1", registry="r", repository="p", touched=EPOCH, owner="")
            raise LookupError("changed my mind")

        with pytest.raises(LookupError, match="changed my mind"):
            await database.transact(work)
        assert await uploads.find("u1") is None
        await uploads.begin(UploadRow("u1", REPOSITORY, EPOCH))
        with pytest.raises(sqlite3.IntegrityError):
            await uploads.begin(UploadRow("u1", REPOSITORY, EPOCH))
        assert await uploads.find("u1") is not None

    async def test_what_waits_is_committed_at_once(self, database: Database) -> None:
        """Changes that come while another is at work share one transaction, and each gets its own result."""
        uploads = UploadsTable(database)
        statements: list[str] = []
        async with busy(database, statements):
            rows = [UploadRow(f"u{number}", REPOSITORY, EPOCH) for number in range(8)]
            waiting = asyncio.gather(*map(uploads.begin, rows), *(uploads.find(row.id) for row in rows))
            await asyncio.sleep(0)
        assert (await waiting)[len(rows) :] == rows
        assert statements.count("COMMIT") == 2

    async def test_what_fails_takes_nothing_with_it(self, database: Database) -> None:
        """Of changes that wait together one is impossible, one given up: the others are taken, before and after it."""
        uploads = UploadsTable(database)
        first, last, given_up = (UploadRow(name, REPOSITORY, EPOCH) for name in ("first", "last", "given up"))
        async with busy(database, []):
            waiting = [asyncio.ensure_future(uploads.begin(row)) for row in (first, given_up, first, last)]
            await asyncio.sleep(0)
            waiting[1].cancel()
            await asyncio.wait([waiting[1]])  # the journal knows of it then
        taken, cancelled, refused, also = await asyncio.gather(*waiting, return_exceptions=True)
        assert (taken, also) == (None, None)
        assert isinstance(cancelled, asyncio.CancelledError)
        assert isinstance(refused, sqlite3.IntegrityError)
        assert await uploads.ids() == {"first", "last"}

    async def test_a_closed_journal_says_so(self, path: Path) -> None:
        """A request that comes after the close is refused, not lost."""
        database = Database(path)
        with pytest.raises(JournalError, match="closed"):
            await UploadsTable(database).find("u1")
        async with database:
            pass
        with pytest.raises(JournalError, match="closed"):
            await UploadsTable(database).find("u1")

    @pytest.mark.parametrize("version", [len(migrations()) + 1, -1, 2**31 - 1])
    async def test_an_unknown_version_is_left_alone(self, path: Path, version: int) -> None:
        """A journal of a later daemon is refused by its version, before anything is written."""
        path.parent.mkdir()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA user_version = {version}")
        with pytest.raises(JournalError, match=f"version {version}"):
            async with Database(path):
                pass

    @pytest.mark.parametrize(
        "damage",
        [
            lambda data: b"this is no database" + data,
            lambda data: data[: len(data) // 2],
            lambda data: data[:4096] + b"\xff" * (len(data) - 4096),
        ],
        ids=["no database", "cut in half", "overwritten"],
    )
    async def test_a_damaged_file_is_refused(self, path: Path, damage: Callable[[bytes], bytes]) -> None:
        """The start stops with words that name the file; it is not opened over, nor made anew."""
        async with Database(path) as database:
            for _ in range(50):
                await JobsTable(database).enqueue(push())
        damaged = rewrite(path, damage)
        with pytest.raises(JournalDamagedError, match=f"{path.name} is damaged"):
            async with Database(path):
                pass
        assert rewrite(path, lambda data: data)[:4096] == damaged[:4096]

    async def test_a_file_that_cannot_be_opened(self, tmp_path: Path) -> None:
        """A directory in its place is no damage, and is told apart from it."""
        with pytest.raises(IsADirectoryError):
            async with Database(tmp_path):
                pass


async def test_pushes_and_deletes_keep_their_order(jobs: Jobs) -> None:
    """Of one manifest, pushes and deletes reach the upstream in the order in which they were acknowledged."""
    first = await jobs.enqueue(push(digest=fresh_digest()))
    again = push(digest=first.digest)
    delete = await jobs.enqueue_delete(
        NewDelete(REPOSITORY, first.reference, first.digest, first.media_type, again.now)
    )
    last = await jobs.enqueue(again)
    assert await jobs.claim(Kind.DELETE, EPOCH, HORIZON) is None
    assert await jobs.next_due(Kind.DELETE) is None
    for job, kind in ((first, Kind.REPLICATE), (delete, Kind.DELETE), (last, Kind.REPLICATE)):
        task = await claim(jobs, kind)
        assert task.job == job
        assert await jobs.claim(Kind.REPLICATE, EPOCH, HORIZON) is None
        await jobs.settle(task, DONE)
    assert delete not in await jobs.held()
