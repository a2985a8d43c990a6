"""The files of containerd's content store, to read beside containerd: its own Read costs several times as much.

They are only ever read. What there is, and for whom, only containerd knows, so it is asked for that first. It also is
asked for what a file does not give.
"""

import asyncio
import os
from asyncio import Future
from collections.abc import AsyncGenerator
from io import FileIO
from pathlib import Path

from mirror.core.ports import StoreFacts
from mirror.oci.names import Digest

PIECE = 1024 * 1024
"""How many bytes are read at once, off the event loop."""


class ContentFiles:
    """Finds blobs in the directory that containerd names, which may be another one after each restart."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = root

    @property
    def are_known(self) -> bool:
        """Whether containerd has said where they are."""
        return self._root is not None

    def learn(self, facts: StoreFacts) -> None:
        """Hear what containerd says of itself."""
        self._root = facts.content

    async def open(self, digest: Digest, size: int) -> FileIO | None:
        """See `Content.file`."""
        opening = asyncio.get_running_loop().run_in_executor(None, self._open, digest, size)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close)
            raise

    async def read(self, digest: Digest, size: int, part: range) -> AsyncGenerator[bytes]:
        """Stream part of a blob that has `size` bytes; ends early where its file does not give them."""
        if len(part) <= PIECE:
            if data := await asyncio.to_thread(self._read_at_once, digest, size, part):
                yield data
            return
        file = await self.open(digest, size)
        if file is None:
            return
        with file:
            while part and (data := await asyncio.to_thread(_read, file.fileno(), part[:PIECE])):
                yield data
                part = part[len(data) :]

    def _open(self, digest: Digest, size: int) -> FileIO | None:
        if self._root is None:
            return None
        try:
            file = FileIO(self._root / "blobs" / digest.replace(":", "/"))
        except OSError:
            return None
        if os.fstat(file.fileno()).st_size == size:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)  # reads twice as far ahead
            return file
        file.close()
        return None

    def _read_at_once(self, digest: Digest, size: int, part: range) -> bytes:
        """The same for what is small, with a single trip to the thread."""
        file = self._open(digest, size)
        if file is None:
            return b""
        with file:
            return _read(file.fileno(), part)


def _read(descriptor: int, part: range) -> bytes:
    """As much of it as there is; empty when the disk fails.

    Whoever waits for it may be cancelled, and close the descriptor: what is read then, from whatever file, is nobody's.
    """
    try:
        return os.pread(descriptor, len(part), part.start)
    except OSError:
        return b""


def _close(opening: "Future[FileIO | None]") -> None:
    """Nobody waits for the file any more."""
    if not opening.cancelled() and (file := opening.result()):
        file.close()
