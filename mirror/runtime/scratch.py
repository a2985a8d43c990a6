"""Files without a name, behind the `Scratch` port: what a crash leaves of them is nothing."""

import asyncio
import errno
import os
import tempfile
import threading
from io import FileIO
from pathlib import Path
from typing import BinaryIO

_LEFT_TO_OTHERS = 64 * 1024 * 1024


class ScratchDirectory:
    """Makes files in a directory, where none of them can be seen."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def open(self, size: int) -> "NamelessFile":
        """An empty file, for so many bytes. Raises OSError; ENOSPC if they would not leave others some room."""
        found = os.statvfs(self._directory)
        if found.f_bavail * found.f_frsize < size + _LEFT_TO_OTHERS:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._directory))
        return NamelessFile(await asyncio.to_thread(tempfile.TemporaryFile, buffering=0, dir=self._directory))


class NamelessFile:
    """A file that grows while others read it; those who have it open share its position, and may move that."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = 0
        self._lock = threading.Lock()  # whoever waits for a thread may be cancelled, and close what that writes to

    async def append(self, data: bytes) -> None:
        """Add bytes at the end. Raises OSError."""
        await asyncio.to_thread(self._append, data)

    def _append(self, data: bytes) -> None:
        with self._lock:
            rest = memoryview(data)
            while rest and not self._file.closed:
                written = os.pwrite(self._file.fileno(), rest, self._size)
                self._size += written
                rest = rest[written:]

    def file(self) -> BinaryIO:
        """The file once more, for its caller to close. Raises OSError."""
        return FileIO(os.dup(self._file.fileno()))

    async def close(self) -> None:
        """Let go of it. Safe to repeat."""
        await asyncio.shield(asyncio.to_thread(self._close))

    def _close(self) -> None:
        with self._lock:
            self._file.close()
