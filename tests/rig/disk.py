"""Disks that let a journal down: a small one to be filled up, and one that gives back what was never written."""

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Self

_BLOCK = bytes(4096)


class Disk:
    """A tmpfs of `size` bytes on `path`, mounted for the length of a `with` statement."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self._size = size
        self._ballast = path / "ballast"

    def __enter__(self) -> Self:
        self.path.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={self._size}", "tmpfs", str(self.path)]
        subprocess.run(mount, check=True)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)

    def fill(self, leave: int = 0) -> None:
        """Take all its room but for `leave` bytes."""
        with self._ballast.open("ab", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(_BLOCK)
            except OSError:
                ballast.truncate(ballast.tell() - leave)

    def fill_for(self, journal: Path) -> None:
        """Leave no room for the smallest change of a journal on this disk, in blocks that it already has included."""
        self.fill()
        with closing(sqlite3.connect(journal, isolation_level=None)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            try:
                while True:
                    connection.execute(f"PRAGMA user_version = {version}")  # one page of the WAL
            except sqlite3.OperationalError:
                return

    def free(self) -> None:
        """Give back what `fill` took."""
        self._ballast.unlink()


def damage(journal: Path, sound: int) -> None:
    """Overwrite a journal but for its first `sound` bytes, under whoever has it open."""
    with closing(sqlite3.connect(journal, isolation_level=None)) as connection:
        connection.execute("UPDATE tasks SET reason = 'seen'")  # who has it open must read again what it had read
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    size = journal.stat().st_size
    with journal.open("r+b") as file:
        file.seek(sound)
        file.write(b"\xff" * (size - sound))
