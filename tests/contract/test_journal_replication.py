"""What replication asks of the journal: whose turn it is, what can be gone on with, and what lies where."""

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from mirror.core.jobs import Job, Kind, NewDelete, Outcome, State
from mirror.core.ports import OLDEST, Jobs, Rule, Transfer, Transfers, UpstreamTag
from mirror.journal.db import Database
from mirror.journal.jobs import JobsTable
from mirror.journal.migrate import migrate, migrations
from mirror.journal.transfers import TransfersTable
from mirror.oci.manifest import Descriptor
from mirror.oci.names import Digest, Repository
from tests.contract.pushes import REPOSITORY, fresh_digest, push
from tests.unit.clock import EPOCH

OTHER = Repository(REPOSITORY.registry, "team/other")
ELSEWHERE = Repository("other.example.com", "team/app")
HORIZON = 3600.0
NEWEST = Rule(newest=True)
GIVES_WAY = Rule(gives_way=True)
DAY = 86400.0


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
def transfers(database: Database) -> Transfers:
    return TransfersTable(database)


async def order(jobs: Jobs, rule: Rule = OLDEST) -> list[int]:
    """The ids of all replications that can be claimed together, in their order."""
    claimed: list[int] = []
    while task := await jobs.claim(Kind.REPLICATE, EPOCH, HORIZON, rule):
        claimed.append(task.job.id)
    return claimed


async def settle(jobs: Jobs, job: Job, outcome: Outcome) -> None:
    """Claim the replication of a job, which must be the next, and settle it."""
    task = await jobs.claim(Kind.REPLICATE, EPOCH, HORIZON)
    assert task is not None
    assert task.job == job
    await jobs.settle(task, outcome)


class TestOrder:
    async def test_the_newest_first(self, jobs: Jobs) -> None:
        """Where the rule says so."""
        pushed = [(await jobs.enqueue(push(tag))).id for tag in "abc"]
        assert await order(jobs, NEWEST) == pushed[::-1]

    @pytest.mark.parametrize("newest", [False, True])
    async def test_each_repository_has_its_share(self, jobs: Jobs, *, newest: bool) -> None:
        """The one with the fewest running goes first, whoever is older or newer."""
        many = [(await jobs.enqueue(push(tag))).id for tag in "abc"]
        one = (await jobs.enqueue(push("d", repository=OTHER))).id
        more = [(await jobs.enqueue(push(tag))).id for tag in "ef"]
        claimed = await order(jobs, Rule(newest=newest))
        assert claimed[claimed.index(one) - 1] in many + more
        assert claimed.index(one) == 1
        assert sorted(claimed) == sorted([*many, one, *more])

    async def test_shares_grow_alike(self, jobs: Jobs) -> None:
        """Of repositories that all have some running, the one with the fewest goes first, too."""
        many = [(await jobs.enqueue(push(tag))).id for tag in "abc"]
        others = [(await jobs.enqueue(push(tag, repository=OTHER))).id for tag in "abc"]
        assert await order(jobs) == [job for pair in zip(many, others, strict=True) for job in pair]

    async def test_a_closed_registry_waits(self, jobs: Jobs) -> None:
        """Its tasks are neither claimed nor waited for; those of others are."""
        here, there = await jobs.enqueue(push()), await jobs.enqueue(push(repository=ELSEWHERE))
        closed = frozenset({REPOSITORY.registry})
        assert await order(jobs, Rule(closed=closed)) == [there.id]
        assert await jobs.next_due(Kind.REPLICATE, Rule(closed=closed)) is None
        assert await jobs.next_due(Kind.REPLICATE) == 0.0
        assert await order(jobs) == [here.id]

    async def test_what_gives_way(self, jobs: Jobs) -> None:
        """The replication of a variant is claimed by whoever asks for such, and counts for nobody else."""
        variant, behind = [await jobs.enqueue(replace(push(tag), is_variant=True)) for tag in "ab"]
        assert await jobs.claim(Kind.REPLICATE, EPOCH, HORIZON) is None
        assert await jobs.next_due(Kind.REPLICATE) is None
        assert {(each.kind, each.oldest) for each in await jobs.queue()} == {
            (Kind.REPLICATE, None),
            (Kind.UNPACK, EPOCH),
        }
        assert await jobs.next_due(Kind.REPLICATE, GIVES_WAY) == 0.0
        task = await jobs.claim(Kind.REPLICATE, EPOCH, HORIZON, GIVES_WAY)
        assert task is not None
        assert (task.job, task.gives_way) == (variant, True)
        # The share of its repository is as it was: else another's original would go first.
        originals = [(await jobs.enqueue(push("c", repository=repository))).id for repository in (REPOSITORY, OTHER)]
        assert await order(jobs) == originals
        assert await order(jobs, GIVES_WAY) == [behind.id]
        unpack = await jobs.claim(Kind.UNPACK, EPOCH, HORIZON)
        assert unpack is not None
        assert (unpack.job, unpack.gives_way) == (variant, False)

    async def test_who_is_back_is_tried_at_once(self, jobs: Jobs) -> None:
        """What waits for another attempt there is due, other registries and parked tasks stay as they are."""
        waiting = [await jobs.enqueue(push(repository=repository)) for repository in (REPOSITORY, ELSEWHERE)]
        parked = await jobs.enqueue(push("v2"))
        for job in waiting:
            await settle(jobs, job, Outcome(State.PENDING, "503", EPOCH + 60))
        await settle(jobs, parked, Outcome(State.PARKED, "403"))
        await jobs.hurry(REPOSITORY.registry)
        assert await order(jobs) == [waiting[0].id]
        assert await jobs.next_due(Kind.REPLICATE) == EPOCH + 60


class TestReferrers:
    @staticmethod
    async def referrer(jobs: Jobs, subject: Digest, repository: Repository = REPOSITORY) -> Job:
        """A push of something that refers to another manifest."""
        listed = Descriptor(digest=fresh_digest(), size=1)
        return await jobs.enqueue(replace(push(None, repository=repository), subject=subject, referrer=listed))

    @pytest.mark.parametrize("state", [State.PENDING, State.PARKED])
    async def test_it_waits_for_its_subject(self, jobs: Jobs, state: State) -> None:
        """Until that is upstream, however long it takes; its own unpacking does not wait."""
        subject = await jobs.enqueue(push())
        referrer = await self.referrer(jobs, subject.digest)
        assert await order(jobs, NEWEST) == [subject.id]
        task = (await jobs.find(REPOSITORY, subject.reference))[0]
        await jobs.settle(task, Outcome(state, "no", EPOCH + 60))
        assert await order(jobs) == []
        assert await jobs.claim(Kind.UNPACK, EPOCH, HORIZON, NEWEST) is not None
        await jobs.settle(task, Outcome(State.DONE))
        assert await order(jobs) == [referrer.id]

    async def test_a_subject_that_arrived_by_another_push(self, jobs: Jobs) -> None:
        """It is there: that a push of it is parked, or another on its way, is no reason to wait."""
        parked = await jobs.enqueue(push())
        await settle(jobs, parked, Outcome(State.PARKED, "403"))
        done = await jobs.enqueue(push("v2", digest=parked.digest))
        await settle(jobs, done, Outcome(State.DONE))
        again = await jobs.enqueue(push("v3", digest=parked.digest))
        referrer = await self.referrer(jobs, parked.digest)
        assert set(await order(jobs)) == {again.id, referrer.id}

    async def test_it_does_not_wait_for_others(self, jobs: Jobs) -> None:
        """For a manifest of another repository, one that was never pushed, or one that was pushed after it."""
        digest, later = fresh_digest(), fresh_digest()
        elsewhere = await jobs.enqueue(push(repository=OTHER, digest=digest))
        referrers = [await self.referrer(jobs, subject) for subject in (digest, fresh_digest(), later)]
        subject = await jobs.enqueue(push(digest=later))
        assert set(await order(jobs)) == {job.id for job in (elsewhere, *referrers, subject)}

    async def test_waiting_is_no_ring(self, jobs: Jobs) -> None:
        """A referrer under a tag, a delete of that tag, then its subject under the same: all of them come to an end."""
        digest = fresh_digest()
        listed = Descriptor(digest=fresh_digest(), size=1)
        first = await jobs.enqueue(replace(push(), subject=digest, referrer=listed))
        delete = NewDelete(REPOSITORY, first.reference, first.digest, first.media_type, EPOCH)
        await jobs.enqueue_delete(delete)
        second = await jobs.enqueue(push(digest=digest))
        await settle(jobs, first, Outcome(State.DONE))
        assert await order(jobs) == []
        task = await jobs.claim(Kind.DELETE, EPOCH, HORIZON)
        assert task is not None
        await jobs.settle(task, Outcome(State.DONE))
        assert await order(jobs) == [second.id]

    async def test_of_a_journal_that_did_not_know_them(self, path: Path) -> None:
        """What refers to what is taken from the lists of referrers."""
        with closing(sqlite3.connect(path, isolation_level=None)) as old:
            migrate(old, migrations()[:1])
            old.executescript(
                """
                INSERT INTO jobs VALUES (1, 'r', 'app', 'v1', 'sha256:subject', 't', 'lease', 0),
                                        (2, 'r', 'app', NULL, 'sha256:referrer', 't', 'lease', 0);
                INSERT INTO tasks (job, kind, state) VALUES (1, 'replicate', 'pending'), (2, 'replicate', 'pending');
                INSERT INTO referrers VALUES ('r', 'app', 'sha256:subject', 'sha256:referrer', x'');
                """
            )
        async with Database(path) as database:
            assert await order(JobsTable(database), NEWEST) == [1]


class TestTransfers:
    async def test_an_upload_from_beginning_to_end(self, transfers: Transfers) -> None:
        """It is found as it was noted last, in its repository only, until the blob is there."""
        digest = fresh_digest()
        assert await transfers.find(REPOSITORY, digest) is None
        for transfer in (Transfer("https://up/1", 0), Transfer("https://up/2", 7)):
            await transfers.note(REPOSITORY, digest, transfer, EPOCH)
            assert await transfers.find(REPOSITORY, digest) == transfer
        assert await transfers.find(OTHER, digest) is None
        await transfers.saw(REPOSITORY, digest, EPOCH)
        assert await transfers.find(REPOSITORY, digest) is None

    async def test_an_upload_that_the_upstream_forgot(self, transfers: Transfers) -> None:
        """Forgetting one that is not known is no error."""
        digest = fresh_digest()
        await transfers.note(REPOSITORY, digest, Transfer("https://up/1", 0), EPOCH)
        for _ in range(2):
            await transfers.forget(REPOSITORY, digest)
            assert await transfers.find(REPOSITORY, digest) is None

    async def test_where_a_blob_lies(self, transfers: Transfers) -> None:
        """In another repository of the same registry, the one where it was seen last."""
        digest = fresh_digest()
        third = Repository(REPOSITORY.registry, "team/third")
        await transfers.saw(ELSEWHERE, digest, EPOCH)
        await transfers.saw(REPOSITORY, digest, EPOCH)
        assert await transfers.elsewhere(REPOSITORY, digest) is None
        assert await transfers.elsewhere(OTHER, digest) == REPOSITORY
        await transfers.saw(third, digest, EPOCH + 2)
        assert await transfers.elsewhere(OTHER, digest) == third
        await transfers.saw(REPOSITORY, digest, EPOCH + 3)
        assert await transfers.elsewhere(OTHER, digest) == REPOSITORY
        assert await transfers.elsewhere(OTHER, fresh_digest()) is None

    async def test_what_a_tag_meant(self, transfers: Transfers) -> None:
        """The last answer counts, for this tag of this repository, until there is none."""
        first, second = fresh_digest(), fresh_digest()
        assert await transfers.tag(REPOSITORY, "v1") is None
        for seconds, digest in enumerate((first, second)):
            await transfers.saw_tag(REPOSITORY, "v1", digest, EPOCH + seconds)
            assert await transfers.tag(REPOSITORY, "v1") == UpstreamTag(digest, EPOCH + seconds)
        assert await transfers.tag(REPOSITORY, "v2") is None
        assert await transfers.tag(OTHER, "v1") is None
        await transfers.forget_tag(REPOSITORY, "v1")
        assert await transfers.tag(REPOSITORY, "v1") is None

    async def test_what_is_too_old_to_be_true(self, path: Path) -> None:
        """An upload of last week, a blob seen last month: forgotten at the next start, what is newer is not."""
        old, new, now = fresh_digest(), fresh_digest(), time.time()
        async with Database(path) as database:
            transfers = TransfersTable(database)
            await transfers.saw(OTHER, old, now - 31 * DAY)
            await transfers.saw(OTHER, new, now - 29 * DAY)
            await transfers.saw_tag(REPOSITORY, "old", old, now - 31 * DAY)
            await transfers.saw_tag(REPOSITORY, "new", new, now - 29 * DAY)
            await transfers.note(REPOSITORY, old, Transfer("https://up/1", 1), now - 8 * DAY)
            await transfers.note(REPOSITORY, new, Transfer("https://up/2", 2), now - 6 * DAY)
        async with Database(path) as database:
            transfers = TransfersTable(database)
            assert await transfers.find(REPOSITORY, old) is None
            assert await transfers.elsewhere(REPOSITORY, old) is None
            assert await transfers.tag(REPOSITORY, "old") is None
            assert await transfers.tag(REPOSITORY, "new") is not None
            assert await transfers.find(REPOSITORY, new) == Transfer("https://up/2", 2)
            assert await transfers.elsewhere(REPOSITORY, new) == OTHER
