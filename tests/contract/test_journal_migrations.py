"""Bringing an old journal up to date: what is in it stays, and a step is taken whole or not at all."""

import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from mirror.core.ports import UploadRow
from mirror.journal.db import Database
from mirror.journal.migrate import migrate, migrations, version
from mirror.journal.uploads import UploadsTable
from mirror.oci.names import Repository

OURS = migrations()
FIRST, NEXT = OURS[:1], len(OURS) + 1
# Jobs gain a column the long way, and tasks refer to them: with foreign keys on, the DROP would take the tasks along.
REBUILD = """
DROP VIEW ready;
DROP VIEW running;
CREATE TABLE rebuilt (
    id INTEGER PRIMARY KEY AUTOINCREMENT, registry TEXT NOT NULL, repository TEXT NOT NULL, tag TEXT,
    digest TEXT NOT NULL, media_type TEXT NOT NULL, lease TEXT NOT NULL, created REAL NOT NULL, subject TEXT,
    pusher TEXT NOT NULL DEFAULT 'nobody'
) STRICT;
INSERT INTO rebuilt (id, registry, repository, tag, digest, media_type, lease, created, subject)
SELECT id, registry, repository, tag, digest, media_type, lease, created, subject FROM jobs;
DROP TABLE jobs;
ALTER TABLE rebuilt RENAME TO jobs;
-- a comment may be all that follows"""
ROWS = """
INSERT INTO jobs VALUES (7, 'registry.example.com', 'team/app', 'v1', 'sha256:7', 'application/json', 'lease', 1.5);
INSERT INTO tasks (job, kind, state) VALUES (7, 'replicate', 'pending'), (7, 'unpack', 'done');
"""
TASKS = "SELECT job, kind, state FROM tasks ORDER BY kind"
KEPT = [(7, "replicate", "pending"), (7, "unpack", "done")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of the first version, with a job in it."""
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, FIRST)
        connection.executescript(ROWS)
    return path


def everything(path: Path) -> list[str]:
    """Schema and rows of a journal, as SQL, after its version."""
    with closing(sqlite3.connect(path)) as connection:
        return [str(version(connection)), *connection.iterdump()]


async def open_with(path: Path, schema: Sequence[str]) -> None:
    """Open a journal and close it again."""
    async with Database(path, schema):
        pass


async def test_an_old_journal_keeps_its_rows(path: Path) -> None:
    """Even when the table that others refer to is rebuilt; a second start finds nothing more to do."""
    for _ in range(2):
        async with Database(path, [*OURS, REBUILD]) as database:
            jobs = await database.transact(lambda s: s._connection.execute("SELECT id, pusher FROM jobs").fetchall())
            tasks = await database.transact(lambda s: s._connection.execute(TASKS).fetchall())
        assert [tuple(row) for row in jobs] == [(7, "nobody")]
        assert [tuple(row) for row in tasks] == KEPT
        assert everything(path)[0] == str(NEXT)


async def test_steps_from_nothing(tmp_path: Path) -> None:
    """A new journal takes every step there is, in their order."""
    steps = [*OURS, "CREATE TABLE a (b)", "INSERT INTO a VALUES (3)"]
    await open_with(tmp_path / "new.db", steps)
    dump = everything(tmp_path / "new.db")
    assert dump[0] == str(NEXT + 1)
    assert 'INSERT INTO "a" VALUES(3);' in dump


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("DELETE FROM tasks; SELECT nonsense", "nonsense"),
        ("DELETE FROM jobs", "row of tasks that refers to nothing"),
    ],
    ids=["a statement fails", "a task loses its job"],
)
async def test_a_failing_step_changes_nothing(path: Path, script: str, reason: str) -> None:
    """The steps before it stand, its own statements do not, and the daemon that knew no more of them still starts."""
    steps = [*OURS, "CREATE TABLE kept (a)"]
    await open_with(path, steps)
    before = everything(path)
    with pytest.raises(sqlite3.Error, match=re.escape(reason)):
        await open_with(path, [*steps, script])
    assert everything(path) == before
    await open_with(path, steps)


CRASH = """
import os, signal, sqlite3, sys
from mirror.journal.migrate import migrate, migrations

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.create_function("die", 0, lambda: os.kill(os.getpid(), signal.SIGKILL))
migrate(connection, [*migrations()[:1], "DELETE FROM tasks; CREATE TABLE half (a); SELECT die()"])
"""


def test_a_crash_in_the_middle_changes_nothing(path: Path) -> None:
    """A process that is killed between two statements of a step leaves the old version whole."""
    before = everything(path)
    child = subprocess.run([sys.executable, "-c", CRASH, str(path)], check=False)
    assert child.returncode == -signal.SIGKILL
    assert everything(path) == before


@pytest.mark.parametrize("names", [["0002.sql"], ["0001.sql", "0003.sql"], ["0001.sql", "add_pusher.sql"]])
def test_a_gap_is_noticed(tmp_path: Path, names: list[str]) -> None:
    """Numbers begin with 1 and follow each other: a missing step would be taken for one that was taken."""
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=re.escape(names[-1])):
        migrations(tmp_path)


def test_steps_come_by_number(tmp_path: Path) -> None:
    """A script's place is its number; what is no script is not looked at."""
    for number in (2, 1, 10, 3, 4, 5, 6, 7, 8, 9):
        (tmp_path / f"{number:04}.sql").write_text(str(number))
    (tmp_path / "README").touch()
    assert migrations(tmp_path) == [str(number) for number in range(1, 11)]


async def test_foreign_keys_are_on_afterwards(path: Path) -> None:
    """What is off for a migration is on for every transaction."""
    async with Database(path) as database:
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
            await database.transact(
                lambda session: session._connection.execute(
                    "INSERT INTO tasks (job, kind, state) VALUES (99, 'unpack', 'done')"
                )
            )


async def test_sessions_from_before_there_were_owners(tmp_path: Path) -> None:
    """They can be gone on with, and count for nobody."""
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, OURS[:4])
        connection.execute("INSERT INTO uploads VALUES ('u1', 'registry.example.com', 'team/app', 1.5)")
    async with Database(path) as database:
        found = await UploadsTable(database).find("u1")
    assert found == UploadRow("u1", Repository("registry.example.com", "team/app"), 1.5, "")
