"""The blobs of containerd's content store, as files that we put there ourselves.

Source: containerd, docs/content-flow.md: a blob is `blobs/sha256/<hex>` below the root of the content plugin. What lies
there and is in no namespace's metadata goes with the next garbage collection.
"""

import os
from pathlib import Path

from mirror.oci.names import Digest

_READ_ONLY = 0o444


class BlobFiles:
    """The directory of blobs of the content store at `content`. All of this waits for the disk: call it in a thread."""

    def __init__(self, content: Path) -> None:
        self._directory = content / "blobs/sha256"

    def link(self, file: Path, digest: Digest) -> None:
        """Make a synced file a blob, and keep its own name too."""
        second = file.with_name(f"{file.name}.blob")
        second.unlink(missing_ok=True)  # a crash may have left it
        second.hardlink_to(file)
        self.move(second, digest)
        second.unlink(missing_ok=True)  # the blob is this very file already: then a rename does nothing (rename(2))

    def move(self, file: Path, digest: Digest) -> None:
        """Make a synced file a blob.

        What is there makes way, in one step: who reads it reads on, and who opens it anew finds the same bytes, or
        the right ones. It is not believed, because nobody but containerd's metadata knows where it comes from.
        """
        file.chmod(_READ_ONLY)
        blob = self._file(digest)
        try:
            file.rename(blob)
        except FileNotFoundError:
            self._directory.mkdir(parents=True, exist_ok=True)  # containerd makes it with the first blob
            file.rename(blob)
        _sync_directory(self._directory)

    def remove(self, digest: Digest) -> None:
        """Take away a file that did not become a blob."""
        self._file(digest).unlink(missing_ok=True)

    def _file(self, digest: Digest) -> Path:
        return self._directory / digest.partition(":")[2]


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
