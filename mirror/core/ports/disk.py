"""The disks of this host."""

from pathlib import Path
from typing import Protocol


class Disk(Protocol):
    """The filesystems of this host."""

    def room(self, directory: Path) -> tuple[int, int]:
        """The filesystem of a directory, in bytes: its size, and what may still be written. Raises OSError."""
