"""The schema of the journal, in steps: the files of `migrations/` bring any earlier journal up to this daemon.

SQLite's own `user_version` says how many of them a file has had. How a step rebuilds a table is told in SQLite's
manual, "Making Other Kinds Of Table Schema Changes"; views of it must be dropped first, and made again after.
"""

import sqlite3
from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable

_OURS = resources.files(__package__).joinpath("migrations")


def migrations(directory: Traversable = _OURS) -> list[str]:
    """The scripts `0001.sql`, `0002.sql` and so on of a directory, in their order.

    Raises:
        ValueError: a number is missing, or a script has none.
    """
    files = {file.name: file for file in directory.iterdir() if file.name.endswith(".sql")}
    expected = [f"{number:04}.sql" for number in range(1, len(files) + 1)]
    if sorted(files) != expected:
        raise ValueError(f"migrations must be {', '.join(expected)}; there are {', '.join(sorted(files))}")
    return [files[name].read_text() for name in expected]


def version(connection: sqlite3.Connection) -> int:
    """How many migrations a journal has had."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection, scripts: Sequence[str]) -> None:
    """Apply those of the `scripts` that the journal has not had, each in one transaction with its version.

    Foreign keys are off meanwhile, as a table that is dropped to be rebuilt would take with it what refers to it.

    Raises:
        sqlite3.Error: a script failed, or left a row that refers to nothing; the journal is as the one before left it.
    """
    connection.execute("PRAGMA foreign_keys = OFF")
    for number in range(version(connection) + 1, len(scripts) + 1):
        try:
            _apply(connection, number, scripts[number - 1])
        except BaseException:
            connection.rollback()
            raise
    connection.execute("PRAGMA foreign_keys = ON")


def _apply(connection: sqlite3.Connection, number: int, script: str) -> None:
    # `executescript` commits what is open before it, so the transaction begins within.
    connection.executescript(f"BEGIN IMMEDIATE;\n{script}\n;PRAGMA user_version = {number};")
    if dangling := connection.execute("PRAGMA foreign_key_check").fetchone():
        raise sqlite3.IntegrityError(f"migration {number} leaves a row of {dangling[0]} that refers to nothing")
    connection.execute("COMMIT")
