"""One upload in the spool: its file, and the digest of what it has.

What takes its time (writing, hashing, syncing) runs in threads, where it lets go of the GIL.
"""

import asyncio
import ctypes
import hashlib
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from mirror.containerd.threads import Threads
from mirror.core.errors import DigestMismatchError, StoreUnavailableError
from mirror.oci.names import Digest

CHUNK = 1024 * 1024
"""Bytes that are written and hashed at once."""

_AHEAD = 2  # chunks that may wait for that while the next one is collected
_MOST_PIECES = 512  # half of what one call of the kernel takes (IOV_MAX)
_WRITE_BACK_EVERY = 8 * CHUNK
_WRITE_BACK = 2  # SYNC_FILE_RANGE_WRITE, sync_file_range(2)
_DIRECTORY = 0o700
_FILE = 0o600
_Piece = bytes | bytearray
_libc = ctypes.CDLL(None)


class SpoolFile:
    """An upload that is being written.

    While a thread writes and hashes one chunk, the next ones are collected, and it goes on with them by itself. The
    first one makes the file: what is no longer than that needs none before its digest is known.
    """

    def __init__(self, path: Path, threads: Threads) -> None:
        self._path = path
        self._threads = threads
        self._handle = -1
        self._size = 0
        self._hash = hashlib.sha256()
        self._pieces: list[_Piece] = []
        self._collected = 0
        self._written_back = 0
        self._lock = threading.Lock()
        self._waiting = deque[tuple[Sequence[_Piece], int]]()
        self._is_draining = False
        self._fewer_wait = asyncio.Event()
        self._work: asyncio.Future[None] | None = None
        self._is_closed = False

    async def load(self) -> None:
        """Read and hash what an earlier writer has left."""
        await self._threads.run(self._load)

    def _load(self) -> None:
        with suppress(FileNotFoundError), self._path.open("rb", buffering=0) as file:
            self._hash = hashlib.file_digest(file, "sha256")
            self._size = self._written_back = file.tell()

    @property
    def offset(self) -> int:
        """Bytes that were handed over so far."""
        return self._size + self._collected

    @property
    def is_collected(self) -> bool:
        """Whether all of it is in memory, and in no file yet."""
        return not self._size

    async def write(self, data: _Piece) -> None:
        """Append; waits while too many chunks do."""
        if self._is_closed:
            raise StoreUnavailableError("spool: the upload is closed")
        self._pieces.append(data)
        self._collected += len(data)
        if self._collected >= CHUNK or len(self._pieces) >= _MOST_PIECES:
            await self._hand_over()

    async def flush(self) -> None:
        """Wait until everything is in the file."""
        await self._hand_over()
        await self._done()

    async def verify(self, expected: Digest) -> None:
        """Wait until everything is in the file, and compare its digest. Raises DigestMismatchError."""
        await self.flush()
        _compare(self._hash.hexdigest(), expected)

    async def _hand_over(self) -> None:
        if not self._pieces:
            return
        while len(self._waiting) == _AHEAD and self._work and not self._work.done():
            self._fewer_wait.clear()
            await self._fewer_wait.wait()
        if self._work and self._work.done():
            await self._done()
        pieces, offset = self._pieces, self._size
        self._size += self._collected
        self._pieces, self._collected = [], 0
        with self._lock:
            self._waiting.append((pieces, offset))
            is_draining, self._is_draining = self._is_draining, True
        if not is_draining:
            self._begin(self._threads.run(partial(self._drain, asyncio.get_running_loop())))

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        self._work = asyncio.ensure_future(work)
        self._work.add_done_callback(lambda _: self._fewer_wait.set())

    async def _done(self) -> None:
        """Wait for what is under way; once a chunk has failed, the file is not what was hashed any more."""
        if self._work:
            await asyncio.shield(self._work)  # a thread cannot be called off, and its file must not be closed
            self._work = None

    def _drain(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take chunks until none waits; from one to the next the event loop is not needed."""
        while chunk := self._next():
            self._append(*chunk)
            self._waiting.popleft()
            loop.call_soon_threadsafe(self._fewer_wait.set)

    def _next(self) -> tuple[Sequence[_Piece], int] | None:
        with self._lock:
            self._is_draining = bool(self._waiting)
            return self._waiting[0] if self._waiting else None

    async def hand_on(self, work: Callable[[], None]) -> None:
        """Do something with the file in a thread; it is not let go of before that has ended, even if cancelled."""
        await self._done()
        self._begin(self._threads.run(work))
        await self._done()

    def _append(self, pieces: Sequence[_Piece], offset: int) -> None:
        if self._handle < 0:
            self._handle = self._open(os.O_CREAT if not offset else 0)  # it must not begin with a hole
        offset = _write(self._handle, pieces, offset)
        _digest(self._hash, pieces)
        if offset - self._written_back >= _WRITE_BACK_EVERY:
            self._write_back(offset)

    def _open(self, flags: int) -> int:
        """Open the file for writing; of one that is a blob by now, whose commit was not answered, take a copy."""
        if flags & os.O_CREAT:  # whoever empties containerd's root takes the spool away, too
            self._path.parent.mkdir(mode=_DIRECTORY, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if self._path.stat().st_nlink > 1:
                copy = self._path.with_name(f"{self._path.name}.copy")
                shutil.copyfile(self._path, copy)
                copy.replace(self._path)
            self._path.chmod(_FILE)
        return os.open(self._path, os.O_WRONLY | os.O_CLOEXEC | flags, _FILE)

    def _write_back(self, offset: int) -> None:
        """Let the kernel begin to write to the disk, so that the sync at the end is short; it is a hint, no more."""
        start = self._written_back
        _libc.sync_file_range(self._handle, ctypes.c_int64(start), ctypes.c_int64(offset - start), _WRITE_BACK)
        self._written_back = offset

    def written(self) -> Path:
        """The file, when the disk has all of it. Waits for the disk: call it in a thread."""
        _sync(self._path)
        return self._path

    def written_at_once(self, expected: Digest) -> Path:
        """The file of an upload that is all in memory, likewise. Raises DigestMismatchError before it is made."""
        digest = hashlib.sha256()
        _digest(digest, self._pieces)
        _compare(digest.hexdigest(), expected)
        handle = self._open(os.O_CREAT | os.O_TRUNC)
        try:
            _write(handle, self._pieces, 0)
            os.fsync(handle)
        finally:
            os.close(handle)
        return self._path

    async def close(self) -> None:
        """Let go of the file; what was not flushed is forgotten. Safe to repeat."""
        if not self._is_closed:
            self._is_closed = True
            await asyncio.shield(self._let_go())

    async def _let_go(self) -> None:
        if self._work:
            await asyncio.wait([self._work])
        if self._handle >= 0:
            os.close(self._handle)


def _digest(hashed: "hashlib._Hash", pieces: Sequence[_Piece]) -> None:
    for piece in pieces:
        hashed.update(piece)


def _compare(found: str, expected: Digest) -> None:
    if expected != f"sha256:{found}":
        raise DigestMismatchError(f"the bytes are sha256:{found}, not {expected}")


def _write(handle: int, pieces: Sequence[_Piece], offset: int) -> int:
    """Write all pieces at an offset; returns where they end."""
    left = [memoryview(piece) for piece in pieces]
    while left:
        written = os.pwritev(handle, left, offset)
        offset += written
        left = _behind(left, written)
    return offset


def _behind(pieces: list[memoryview], written: int) -> list[memoryview]:
    """What is left of the pieces when the first `written` bytes of them are gone."""
    for index, piece in enumerate(pieces):
        if written < len(piece):
            return [piece[written:], *pieces[index + 1 :]]
        written -= len(piece)
    return []


def _sync(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
