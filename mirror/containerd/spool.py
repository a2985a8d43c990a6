"""The spool: a directory beside containerd's content store that uploads are written to, until they are whole.

It is on the filesystem of the store, so that a whole file becomes a blob by a link, and outside of the directories that
containerd looks after.
"""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, unquote

from mirror.containerd.spoolfile import SpoolFile
from mirror.containerd.threads import Threads
from mirror.core.errors import StoreUnavailableError

_OURS_ALONE = 0o700


class Spool:
    """A directory of unfinished uploads, each a file that is named after its ref.

    Which there are is remembered, so that a new upload costs no look at the disk before it has bytes.
    """

    def __init__(self, directory: Path, threads: Threads) -> None:
        self.directory = directory
        self.threads = threads
        self._known: set[str] = set()
        self._open: set[str] = set()

    @classmethod
    def beside(cls, content: Path, namespace: str, threads: Threads) -> "Spool":
        """That of a namespace beside the content store at `content`: on its filesystem most likely."""
        return cls(directory_beside(content, namespace), threads)

    def prepare(self) -> None:
        """Make the directory, and see what earlier lives have left there. Waits for the disk: call it in a thread."""
        self.directory.mkdir(mode=_OURS_ALONE, parents=True, exist_ok=True)
        self._known.update(self._listed())

    def _listed(self) -> list[str]:
        return [unquote(file.name) for file in self.directory.iterdir()]

    def holds(self, ref: str) -> bool:
        """Whether an upload was begun here and has not ended."""
        return ref in self._known

    async def open(self, ref: str) -> SpoolFile:
        """Open an upload, or go on with it: then what it has is read and hashed first.

        Raises:
            StoreUnavailableError: somebody else has it open, or the disk fails.
        """
        if ref in self._open:
            raise StoreUnavailableError(f"spool: {ref} is locked for another writer")
        self._open.add(ref)
        file = SpoolFile(self._path(ref), self.threads)
        try:
            if ref in self._known:
                await file.load()
        except BaseException:  # a cancelled opening too: nobody else would ever let go of it
            self._open.discard(ref)
            raise
        self._known.add(ref)
        return file

    def release(self, ref: str) -> None:
        """The writer of an upload has let go of it."""
        self._open.discard(ref)

    async def size(self, ref: str) -> int | None:
        """How many bytes the file of an upload has, None when there is no upload."""
        return await self.threads.run(lambda: _size(self._path(ref))) if self.holds(ref) else None

    async def remove(self, ref: str) -> None:
        """Remove an upload; one that does not exist is no error."""
        await self.threads.run(lambda: self._path(ref).unlink(missing_ok=True))
        self.forget(ref)

    def forget(self, ref: str) -> None:
        """An upload has ended, and left no file."""
        self._known.discard(ref)

    async def refs(self, prefix: str) -> Sequence[str]:
        """The refs that begin with `prefix`, of the files that there are."""
        return [ref for ref in await self.threads.run(self._listed) if ref.startswith(prefix)]

    def _path(self, ref: str) -> Path:
        return self.directory / quote(ref, safe="")


def directory_beside(content: Path, namespace: str) -> Path:
    """Where the uploads of a namespace are, beside the content store at `content`."""
    return content.parent / "registry-mirror" / namespace


def _size(path: Path) -> int:
    """No file is made before there are bytes for it."""
    return path.stat().st_size if path.exists() else 0
