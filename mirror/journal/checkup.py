"""Reading all of the journal's file, to see whether it can be trusted. That takes seconds once it is large."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

_POLL = 0.05


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing, for any one thread at a time, whether or not somebody else has one.

    Without a log nobody has, and all of the journal is in the file: one that only reads could not begin a log.
    """
    has_log = path.with_name(f"{path.name}-wal").exists()
    source = f"{path.absolute().as_uri()}?mode=ro{'' if has_log else '&immutable=1'}"
    return sqlite3.connect(source, uri=True, check_same_thread=False)


class Checkup:
    """Reads the file on a connection and a thread of its own, so that the journal can be used meanwhile.

    It sees the journal as it was when it began; a write-ahead log lets it read beside a writer.
    """

    def __init__(self, path: Path) -> None:
        self._connection = read_only(path)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal-checkup")
        self._verdict: Future[str] = self._thread.submit(self._read)

    def verdict(self, seconds: float | None) -> str:
        """What is wrong with it, empty when it is sound; waits for at most `seconds`, None is for as long as it takes.

        Raises:
            TimeoutError: that is not known yet.
            sqlite3.Error: it cannot be read.
        """
        return self._verdict.result(seconds)

    def when_known(self, tell: Callable[[str], None]) -> None:
        """Have `tell` called with the verdict, on any thread; not at all if it is closed before."""

        def known(verdict: Future[str]) -> None:
            error = verdict.exception()
            if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_INTERRUPT:
                tell(str(error) if error else verdict.result())

        self._verdict.add_done_callback(known)

    def close(self) -> None:
        """End it, wherever it is."""
        while not self._verdict.done():
            self._connection.interrupt()  # which is forgotten if it comes between two statements
            wait([self._verdict], _POLL)
        self._thread.shutdown()
        self._connection.close()

    def _read(self) -> str:
        verdict: str = self._connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if verdict != "ok":
            return verdict
        dangling = self._connection.execute("PRAGMA foreign_key_check").fetchone()
        return f"a row of {dangling[0]} refers to nothing" if dangling else ""
