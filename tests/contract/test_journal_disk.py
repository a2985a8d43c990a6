"""A journal whose disk is full, or gave back something else than was written."""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from mirror.core.errors import JournalUnavailableError
from mirror.journal.db import Database, JournalDamagedError
from mirror.journal.jobs import JobsTable
from mirror.journal.migrate import migrate, migrations
from tests.contract.pushes import REPOSITORY, push
from tests.rig.disk import Disk, damage

PAGE = 4096
# More than the cache of the connection holds, so that it reaches the disk before the COMMIT.
LARGE = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)
INSERT INTO uploads (id, registry, repository, touched) SELECT i, hex(zeroblob(2048)), '', 0 FROM n
"""


@pytest.fixture
def disk(directory: Path) -> Iterator[Disk]:
    with Disk(directory / "disk", 1024 * 1024) as disk:
        yield disk


@pytest.fixture
def path(directory: Path) -> Path:
    return directory / "journal.db"


A_LOST_JOB = """
PRAGMA foreign_keys = OFF;
INSERT INTO jobs (id, registry, repository, tag, digest, media_type, lease, created)
VALUES (7, 'registry.example.com', 'team/app', 'v1', 'sha256:7', '', 'lease', 1.5);
INSERT INTO tasks (job, kind, state) VALUES (7, 'replicate', 'pending');
DELETE FROM jobs;
"""


async def open_for(path: Path, schema: Sequence[str]) -> None:
    """Open a journal for a daemon that knows these migrations, and close it again."""
    async with Database(path, schema, patience=0):
        pass


async def start(path: Path) -> None:
    """Open a journal and close it again."""
    async with Database(path):
        pass


class TestFullDisk:
    async def test_what_is_refused_is_not_there_and_what_was_taken_is(self, disk: Disk) -> None:
        """Full to the last page, a change is refused whole and reading goes on; with room again all is as before."""
        path = disk.path / "journal.db"
        async with Database(path) as database:
            jobs = JobsTable(database)
            first, refused = push("v1"), push("v2")
            await jobs.enqueue(first)
            disk.fill_for(path)
            for _ in range(2):
                with pytest.raises(JournalUnavailableError, match=r"journal\.db: .*full") as refusal:
                    await jobs.enqueue(refused)
                assert refusal.value.full
                assert [task.job.digest for task in await jobs.unfinished(10)] == [first.digest] * 2
            disk.free()
            last = await jobs.enqueue(push("v3"))
        async with Database(path) as database:
            kept = {task.job.digest for task in await JobsTable(database).unfinished(10)}
        assert kept == {first.digest, last.digest}

    async def test_a_large_change_is_refused_whole(self, disk: Disk) -> None:
        """SQLite gives a change up by itself when its disk fills up in the middle: the reason is still told."""
        async with Database(disk.path / "journal.db") as database:
            with pytest.raises(JournalUnavailableError, match="full"):
                await database.transact(lambda session: session._connection.execute(LARGE))
            await JobsTable(database).enqueue(push())

    async def test_a_start(self, disk: Disk) -> None:
        """There is no room even for a new journal; when there is, the next start makes it."""
        disk.fill()
        with pytest.raises(JournalUnavailableError) as refusal:
            await start(disk.path / "journal.db")
        assert refusal.value.full
        disk.free()
        await start(disk.path / "journal.db")


async def test_locked_by_somebody_else(path: Path) -> None:
    """While an operator's transaction is open changes are refused, after some patience, as they may succeed later."""
    async with Database(path) as database:
        with closing(sqlite3.connect(path, isolation_level=None)) as operator:
            operator.execute("BEGIN IMMEDIATE")
            with pytest.raises(JournalUnavailableError, match="locked") as refusal:
                await JobsTable(database).enqueue(push())
            assert not refusal.value.full
        await JobsTable(database).enqueue(push())


async def test_a_disk_that_fails(path: Path) -> None:
    """With a directory in the place of its -wal the journal cannot be opened, but is not called damaged."""
    path.with_name(f"{path.name}-wal").mkdir()
    with pytest.raises(JournalUnavailableError, match="disk I/O error") as refusal:
        await start(path)
    assert not refusal.value.full
    assert not isinstance(refusal.value, JournalDamagedError)


@pytest.fixture
def _careless(path: Path) -> Iterator[None]:
    """An umask that takes nothing away, and a journal that everybody may read."""
    umask = os.umask(0)
    path.touch(mode=0o644)
    yield
    os.umask(umask)


@pytest.mark.usefixtures("_careless")
async def test_it_is_its_owners_alone(path: Path) -> None:
    """Whatever the umask, and however the file was left, nobody but the daemon's user reads any part of it."""
    async with Database(path) as database:
        await JobsTable(database).enqueue(push())
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == {f"journal.db{suffix}": 0o600 for suffix in ("", "-wal", "-shm", ".lock")}


class TestDamage:
    @pytest.mark.parametrize("sound", [0, PAGE], ids=["from the first page on", "behind the first page"])
    async def test_while_it_is_in_use(self, path: Path, sound: int) -> None:
        """What reads it is told, nothing is taken any more, and whoever waits for damage wakes up."""
        async with Database(path) as database:
            jobs = JobsTable(database)
            job = await jobs.enqueue(push())
            damage(path, sound)
            with pytest.raises(JournalDamagedError, match=r"journal\.db is damaged: .*; move it away"):
                await jobs.find(REPOSITORY, job.reference)
            with pytest.raises(JournalDamagedError):
                await database.transact(lambda _: None)
            with pytest.raises(JournalDamagedError):
                await database.until_damaged()

    @pytest.mark.parametrize(
        ("harm", "words"),
        [
            (lambda connection: without_index(connection, "jobs_by_tag"), "missing from index jobs_by_tag"),
            (lambda connection: connection.execute("DELETE FROM jobs"), "a row of tasks refers to nothing"),
        ],
        ids=["an index lacks a row", "a task lacks its job"],
    )
    async def test_at_the_start(self, path: Path, harm: Callable[[sqlite3.Connection], object], words: str) -> None:
        """Sound pages that contradict each other are damage too."""
        async with Database(path) as database:
            await JobsTable(database).enqueue(push())
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            harm(connection)
        with pytest.raises(JournalDamagedError, match=words):
            await start(path)

    @pytest.fixture
    def large(self, path: Path) -> Path:
        """A journal that takes longer to be read than a start waits that does not wait, and that lacks a job."""
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            migrate(connection, migrations())
            connection.execute(LARGE)
            connection.executescript(A_LOST_JOB)
        return path

    async def test_behind_the_start(self, large: Path) -> None:
        """A journal that is long to read is used meanwhile; that it is damaged is told as soon as it is known."""
        async with Database(large, patience=0) as database:
            with pytest.raises(JournalDamagedError, match="a row of tasks refers to nothing"):
                await database.until_damaged()
            with pytest.raises(JournalDamagedError):
                await database.transact(lambda _: None)

    async def test_a_migration_waits(self, large: Path) -> None:
        """However long it takes: what is damaged is not built on."""
        with pytest.raises(JournalDamagedError, match="a row of tasks refers to nothing"):
            await open_for(large, [*migrations(), "CREATE TABLE another (a)"])

    async def test_an_end_before_all_is_read(self, large: Path) -> None:
        """A journal is closed without waiting for that, and is nobody's then."""
        for _ in range(2):
            async with Database(large, patience=0) as database:
                assert await JobsTable(database).newest() == 0
            assert not [thread for thread in threading.enumerate() if thread.name.startswith("journal")]


def without_index(connection: sqlite3.Connection, index: str) -> None:
    """Change a table behind an index's back."""
    connection.execute("PRAGMA writable_schema = ON")
    row = connection.execute("SELECT * FROM sqlite_schema WHERE name = ?", [index]).fetchone()
    connection.execute("DELETE FROM sqlite_schema WHERE name = ?", [index])
    connection.execute("PRAGMA writable_schema = RESET")
    connection.execute("UPDATE jobs SET tag = 'other'")
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", row)
