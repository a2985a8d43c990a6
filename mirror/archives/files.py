"""The files of an archive by their names, wherever they lie: in a directory, or in a tar file, packed or not.

What is in an archive may come from anywhere, so its names lead nowhere else.
"""

import gzip
import io
import os
import posixpath
import shutil
import tarfile
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Protocol, Self

_COPY = 1 << 20
_GZIP = b"\x1f\x8b"
_MOST_LINKS = 8


class ArchiveError(ValueError):
    """It cannot be read, or is not what it should be; the text says what is wrong with which file."""


class Files(Protocol):
    """The regular files of an archive. All of it may be used from any thread."""

    def size(self, name: str) -> int | None:
        """How many bytes a file has, None when there is no such file."""
        ...

    def open(self, name: str) -> io.BufferedReader:
        """A file from its beginning. Raises ArchiveError: there is none."""
        ...


class DirectoryFiles:
    """Those of a directory; what leads out of it is not there."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def size(self, name: str) -> int | None:
        """See `Files`."""
        path = self._path(name)
        return path.stat().st_size if path else None

    def open(self, name: str) -> io.BufferedReader:
        """See `Files`."""
        path = self._path(name)
        if path is None:
            raise ArchiveError(f"{name} is missing")
        return path.open("rb")

    def _path(self, name: str) -> Path | None:
        path = (self._root / name).resolve()
        return path if path.is_relative_to(self._root) and path.is_file() else None


class TarFiles:
    """Those of a tar file, which is read once to know where each of them is."""

    def __init__(self, tar: BinaryIO) -> None:
        self._tar = tar
        self._places: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        try:
            with tarfile.open(fileobj=tar, mode="r:") as members:
                for member in members:
                    self._note(member)
        except tarfile.TarError as error:
            raise ArchiveError(f"is no tar file: {error}") from error

    def _note(self, member: tarfile.TarInfo) -> None:
        name = posixpath.normpath(member.name)
        if member.issym():
            self._links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
        elif member.islnk():
            self._links[name] = posixpath.normpath(member.linkname)
        elif member.isreg() and not member.issparse():
            self._places[name] = (member.offset_data, member.size)

    def size(self, name: str) -> int | None:
        """See `Files`."""
        place = self._place(name)
        return place[1] if place else None

    def open(self, name: str) -> io.BufferedReader:
        """See `Files`."""
        place = self._place(name)
        if place is None:
            raise ArchiveError(f"{name} is missing")
        return io.BufferedReader(_Part(self._tar.fileno(), *place), _COPY)

    def _place(self, name: str) -> tuple[int, int] | None:
        """Where a file is; older `docker save` write a layer once, and links to it."""
        name = posixpath.normpath(name)
        for _ in range(_MOST_LINKS):
            if name not in self._links:
                break
            name = self._links[name]
        return self._places.get(name)


class _Part(io.RawIOBase):
    """A part of a file, which others read at the same time."""

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = start + offset
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # BufferedReader passes nothing else
        wanted = max(0, min(len(buffer), self._size - self._at))
        data = os.pread(self._descriptor, wanted, self._offset + self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class OpenFiles(ExitStack):
    """The files at a path, open until the end of the context; `-` is what comes in on `standard`.

    A tar file that is packed with gzip, or comes from a pipe, is copied to a temporary file first, as its parts are
    needed in another order than theirs.

    Raises:
        ArchiveError: it is neither a directory nor a tar file.
        OSError: it cannot be read, or the copy not written.
    """

    def __init__(self, path: Path, standard: BinaryIO) -> None:
        super().__init__()
        self._path = path
        self._standard = standard
        self.files: Files

    def __enter__(self) -> Self:
        if self._path.is_dir():
            self.files = DirectoryFiles(self._path)
            return self
        try:
            self.files = TarFiles(self._seekable())
        except BaseException:
            self.close()
            raise
        return self

    def _seekable(self) -> BinaryIO:
        source = self._standard if str(self._path) == "-" else self.enter_context(self._path.open("rb"))
        if not source.seekable():
            source = self._copy(source)
        packed = source.read(len(_GZIP)) == _GZIP
        source.seek(0)
        if not packed:
            return source
        try:
            with gzip.open(source) as unpacked:
                return self._copy(unpacked)
        except (EOFError, gzip.BadGzipFile) as error:
            raise ArchiveError(f"is packed with gzip, and damaged: {error}") from error

    def _copy(self, source: BinaryIO | gzip.GzipFile) -> BinaryIO:
        copy = self.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - of the whole context
        shutil.copyfileobj(source, copy, _COPY)
        copy.flush()
        copy.seek(0)
        return copy
