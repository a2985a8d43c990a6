"""What SQLite does to answer: nothing that a push or a builder waits for reads a whole table."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib import resources

import pytest

from mirror.journal.db import _named
from mirror.journal.migrate import migrate, migrations

STATEMENTS = _named(resources.files("mirror.journal").joinpath("queries.sql").read_text())
WHOLE = {
    "counts": "it counts everything",
    "forget_old_conversions": "once, at the start",
    "forget_old_sightings": "once, at the start",
    "forget_old_transfers": "the same, and there are only those under way",
    "forget_old_upstream_tags": "once, at the start",
    "forget_uses": "the same",
    "holders": "only where content turns out to be damaged",
    "newest_job": "it ends at the first row",
    "stale_uploads": "there are only sessions that are open",
    "upload_ids": "the same",
}
"""The statements that read a whole table, and why they may."""


@pytest.fixture(scope="module")
def connection() -> Iterator[sqlite3.Connection]:
    """A new journal, of which SQLite knows no more than of a full one: nobody runs ANALYZE."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, migrations())
        yield connection


def plan(connection: sqlite3.Connection, statement: str) -> list[str]:
    """The steps of a statement, in SQLite's words."""
    values = dict.fromkeys(re.findall(r":(\w+)", statement))
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]


def scanned(connection: sqlite3.Connection, statement: str) -> list[str]:
    """The tables that it reads from end to end."""
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    words = [step.split() for step in plan(connection, statement)]
    names = {alias: table for table, alias in re.findall(r"\b(?:FROM|JOIN) (\w+) ([a-z])\b", statement)}
    return [step[1] for step in words if step[0] == "SCAN" and names.get(step[1], step[1]) in tables]


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_no_table_is_read_from_end_to_end(connection: sqlite3.Connection, name: str) -> None:
    """But for those of which the list says why."""
    assert bool(scanned(connection, STATEMENTS[name])) == (name in WHOLE)


def test_what_is_next_is_found_in_its_order(connection: sqlite3.Connection) -> None:
    """A claim reads the waiting tasks in the order in which they count, and does not sort all of them first."""
    steps = plan(connection, STATEMENTS["claim"])
    assert "SEARCH t USING COVERING INDEX tasks_by_state (state=? AND kind=? AND gives_way=?)" in steps
    assert not [step for step in steps if "ORDER BY" in step]


def test_the_next_page_begins_where_the_last_one_ended(connection: sqlite3.Connection) -> None:
    """Catalogs and lists of pushes skip to their page, and take from there what comes."""
    for name in ("repositories", "newest_pushes", "grants_page"):
        steps = plan(connection, STATEMENTS[name])
        assert not [step for step in steps if "ORDER BY" in step or "DISTINCT" in step]
