"""Files that others may renew at any time, so that each is read again when it changed."""

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


class UnusableFileError(Exception):
    """A file cannot be read, or is not what it should be; the text names it, and holds nothing of it."""


class WatchedFile(Generic[T]):
    """What a file means; read again whenever it is another file than at the time before.

    `meaning` raises ValueError, without the content, for what means nothing.
    """

    def __init__(self, path: Path, meaning: Callable[[bytes], T]) -> None:
        self._path = path
        self._meaning = meaning
        self._read: tuple[tuple[int, int, int], T] | None = None

    def get(self) -> T:
        """What it means now. Raises UnusableFileError."""
        try:
            stat = self._path.stat()
            mark = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if self._read is None or self._read[0] != mark:
                self._read = mark, self._meaning(self._path.read_bytes())
        except OSError as error:
            raise UnusableFileError(f"{self._path}: {error.strerror}") from error
        except ValueError as error:
            # Its cause is not kept: an error of a decoder holds what it tried to decode.
            raise UnusableFileError(f"{self._path}: {error}") from None
        return self._read[1]


def text_of(raw: bytes) -> str:
    """What a file holds that is text, without the white space around it. Raises ValueError when there is none."""
    try:
        text = raw.decode().strip()
    except UnicodeDecodeError:
        raise ValueError("is no text") from None
    if not text:
        raise ValueError("is empty")
    return text
