"""The database: one connection on one thread, so that there is one writer and the event loop never waits for a disk."""

import asyncio
import fcntl
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import IO, Self, TypeVar

from mirror.journal.migrate import migrate, migrations, version

_Result = TypeVar("_Result")
_Value = str | bytes | int | float | None


class JournalError(Exception):
    """The journal cannot be used: it is damaged, another daemon's, or of a version that this one does not know."""


class Session:
    """One transaction, as its statements see it."""

    def __init__(self, connection: sqlite3.Connection, statements: Mapping[str, str]) -> None:
        self._connection = connection
        self._statements = statements

    def rows(self, name: str, **values: _Value) -> list[sqlite3.Row]:
        """Run the statement `name` of queries.sql and fetch all it returns."""
        return self._connection.execute(self._statements[name], values).fetchall()

    def row(self, name: str, **values: _Value) -> sqlite3.Row | None:
        """Run a statement and fetch its first row, None when there is none."""
        found = self.rows(name, **values)
        return found[0] if found else None

    def insert(self, name: str, **values: _Value) -> int:
        """Run an INSERT and return the id of the new row."""
        return self._connection.execute(self._statements[name], values).lastrowid or 0


class Database:
    """The journal file. Transactions run one after the other in their own thread; a return means it is on disk.

    `schema` is the migrations that it must have had: by default all there are.
    """

    def __init__(self, path: Path, schema: Sequence[str] | None = None) -> None:
        self._path = path
        self._schema = migrations() if schema is None else schema
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._statements = _named(resources.files(__package__).joinpath("queries.sql").read_text())
        self._connection: sqlite3.Connection | None = None
        self._lock: IO[str] | None = None

    async def __aenter__(self) -> Self:
        """Open, check and recover the journal.

        Raises:
            JournalError: it is damaged, of an unknown version, or in use by another daemon.
            sqlite3.Error, OSError: it cannot be opened at all, or not be brought up to this daemon's version.
        """
        try:
            await self._call(self._open)
        except BaseException:  # a cancelled start too: nobody else will close what is half open
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it, after everything that was asked for before."""
        await self._call(self._close)
        self._thread.shutdown()

    async def transact(self, work: Callable[[Session], _Result]) -> _Result:
        """Run `work` in one transaction: all of it is on disk when this returns, or none of it ever is."""
        self._opened()  # once it is closed, its thread takes nothing any more
        return await self._call(lambda: self._transact(work))

    async def _call(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = self._path.with_name(f"{self._path.name}.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._connect()
        except BlockingIOError as error:
            raise JournalError(f"{self._path} is in use by another daemon") from error
        except sqlite3.DatabaseError as error:
            if type(error) is not sqlite3.DatabaseError:
                raise  # its subclasses speak of locks, permissions and full disks
            raise JournalError(f"{self._path} is damaged: {error}") from error

    def _connect(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        self._connection = connection
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        self._check(connection)
        migrate(connection, self._schema)
        self._transact(lambda session: session.rows("recover"))

    def _check(self, connection: sqlite3.Connection) -> None:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise JournalError(f"{self._path} is damaged: {verdict}")
        if not 0 <= (found := version(connection)) <= len(self._schema):
            raise JournalError(f"{self._path} has version {found}, this daemon knows up to {len(self._schema)}")

    def _transact(self, work: Callable[[Session], _Result]) -> _Result:
        connection = self._opened()
        with _Transaction(connection):
            return work(Session(connection, self._statements))

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise JournalError(f"{self._path} is closed")
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            self._lock.close()


class _Transaction:
    """BEGIN IMMEDIATE … COMMIT, or ROLLBACK when the body raises."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._connection.execute("ROLLBACK" if kind else "COMMIT")
        except sqlite3.Error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def _named(text: str) -> dict[str, str]:
    """Split queries.sql at its `-- name:` lines."""
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))
