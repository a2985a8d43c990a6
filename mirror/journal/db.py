"""The database: one connection on one thread, so that there is one writer and the event loop never waits for a disk."""

import asyncio
import fcntl
import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, Self, TypeVar

from mirror.core.errors import JournalUnavailableError
from mirror.journal.checkup import Checkup
from mirror.journal.migrate import migrate, migrations, version

_Result = TypeVar("_Result")
_Value = str | bytes | int | float | None
_OWNERS = 0o600
# Seconds that a start waits for the checkup: that of a journal with a few thousand images takes less.
_PATIENCE = 0.2
# SQLite's manual, "Result and Error Codes": the low byte of an extended code is its primary one.
_PRIMARY = 0xFF
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
    }
)


class JournalError(Exception):
    """The journal is not this daemon's to use: it is another one's, of an unknown version, or closed."""


class JournalDamagedError(JournalUnavailableError):
    """The journal's file cannot be trusted any more, and no restart mends that; a person must."""

    def __init__(self, path: Path, damage: str) -> None:
        advice = "move it away with its -wal and -shm, mend a copy (sqlite3 .recover) or start without"
        super().__init__(f"{path} is damaged: {damage}; {advice}", full=False)


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


class _Change(Generic[_Result]):
    """Something that waits for its transaction."""

    def __init__(self, work: Callable[[Session], _Result]) -> None:
        self._work = work
        self.done = Future[_Result]()

    def run(self, session: Session) -> Callable[[], None]:
        """Do it; returns how to say so, once it is on disk."""
        result = self._work(session)
        return lambda: self.done.set_result(result)


class Database:
    """The journal file. Changes run one after the other in their own thread; a return means it is on disk.

    Those that wait while others are synced share one transaction, and so one sync.

    `schema` is the migrations that it must have had: by default all there are. All of the file is checked when it is
    opened; what takes longer than `patience` seconds of that goes on beside its use.
    """

    def __init__(self, path: Path, schema: Sequence[str] | None = None, *, patience: float = _PATIENCE) -> None:
        self._path = path
        self._patience = patience
        self._schema = migrations() if schema is None else schema
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._waiting = SimpleQueue[_Change[Any]]()
        self._statements = _named(resources.files(__package__).joinpath("queries.sql").read_text())
        self._connection: sqlite3.Connection | None = None
        self._checkup: Checkup | None = None
        self._lock: int | None = None
        self._damage: JournalDamagedError | None = None
        self._damaged = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Open, check and recover the journal.

        Raises:
            JournalError: it is of an unknown version, or in use by another daemon.
            JournalDamagedError: it is damaged, as far as that is known yet.
            JournalUnavailableError, OSError: it cannot be read or written.
            sqlite3.Error: a migration failed.
        """
        self._loop = asyncio.get_running_loop()
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
        """Run `work` in one transaction: all of it is on disk when this returns, or none of it ever is.

        It is run again if something that shared its transaction failed, so it changes nothing but the journal.

        Raises:
            JournalUnavailableError: the disk is full, or fails, or what is on it is damaged.
        """
        self._opened()  # once it is closed, its thread takes nothing any more
        change = _Change(work)
        self._waiting.put(change)
        self._thread.submit(self._commit_waiting)
        return await asyncio.wrap_future(change.done)

    async def until_damaged(self) -> None:
        """Wait for as long as the file can be trusted. Raises JournalDamagedError."""
        await self._damaged.wait()
        if self._damage:
            raise self._damage

    async def answer(self) -> None:
        """Return once its thread has come to this: that it gets on with what it is asked."""
        await self._call(lambda: None)

    async def _call(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _private(self._path.with_name(f"{self._path.name}.lock"))
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JournalError(f"{self._path} is in use by another daemon") from error
        os.close(_private(self._path))  # SQLite gives its -wal and -shm the mode of the file itself
        with self._understood():
            self._connect()

    def _connect(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        self._connection = connection
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        self._check(connection)
        migrate(connection, self._schema)
        self._transact(_recover)

    def _check(self, connection: sqlite3.Connection) -> None:
        """Have the file checked; a migration waits for it, as it may not build on what is damaged."""
        if not 0 <= (found := version(connection)) <= len(self._schema):
            raise JournalError(f"{self._path} has version {found}, this daemon knows up to {len(self._schema)}")
        self._checkup = Checkup(self._path)
        try:
            damage = self._checkup.verdict(self._patience if found == len(self._schema) else None)
        except TimeoutError:
            self._checkup.when_known(self._learn)
            return
        if damage:
            raise JournalDamagedError(self._path, damage)

    def _learn(self, damage: str) -> None:
        """What the checkup came to while the journal was in use."""
        if damage:
            self._give_up(JournalDamagedError(self._path, damage))

    def _give_up(self, damage: JournalDamagedError) -> None:
        self._damage = damage
        self._loop.call_soon_threadsafe(self._damaged.set)

    def _commit_waiting(self) -> None:
        """Commit all that waits; what came with it finds nothing left to do."""
        waiting = [self._waiting.get() for _ in range(self._waiting.qsize())]
        if changes := [change for change in waiting if change.done.set_running_or_notify_cancel()]:
            self._commit(changes)

    def _commit(self, changes: Sequence[_Change[Any]]) -> None:
        """Commit changes together, or if one of them fails, each by itself."""
        try:
            done = self._transact(lambda session: [change.run(session) for change in changes])
        except Exception as error:  # noqa: BLE001 - it is raised where the change was asked for
            if len(changes) == 1:
                changes[0].done.set_exception(error)
                return
            for change in changes:
                self._commit([change])
        else:
            for tell in done:
                tell()

    def _transact(self, work: Callable[[Session], _Result]) -> _Result:
        connection = self._opened()
        with self._understood(), _Transaction(connection):
            return work(Session(connection, self._statements))

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise JournalError(f"{self._path} is closed")
        if self._damage:  # a change that seems to succeed now may be lost with the file
            raise self._damage
        return self._connection

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Raise what SQLite's result codes mean to others; damage is remembered."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY
            if code in _DAMAGED:
                damage = JournalDamagedError(self._path, str(error))
                self._give_up(damage)
                raise damage from error
            if code in _UNAVAILABLE:
                raise JournalUnavailableError(f"{self._path}: {error}", full=code == sqlite3.SQLITE_FULL) from error
            raise

    def _close(self) -> None:
        if self._checkup is not None:
            self._checkup.close()
            self._checkup = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _recover(session: Session) -> None:
    """Take up what a daemon that is gone was at, and forget what can be of no use any more."""
    for statement in (
        "recover",
        "forget_old_transfers",
        "forget_old_sightings",
        "forget_old_conversions",
        "forget_old_upstream_tags",
        "forget_uses",
    ):
        session.rows(statement)


class _Transaction:
    """BEGIN IMMEDIATE … COMMIT, or ROLLBACK when the body raises."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            self._connection.rollback()  # nothing is left to do after a COMMIT, nor where SQLite did it by itself


def _private(path: Path) -> int:
    """Open a file for its owner alone, made if it is not there; returns its descriptor."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OWNERS)
    os.fchmod(descriptor, _OWNERS)
    return descriptor


def _named(text: str) -> dict[str, str]:
    """Split queries.sql at its `-- name:` lines. Raises ValueError when two statements have one name."""
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    statements = dict(zip(parts[1::2], parts[2::2], strict=True))
    if len(statements) != len(parts) // 2:
        raise ValueError("two statements of queries.sql have one name")
    return statements
