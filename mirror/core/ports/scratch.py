"""Files without a name, for bytes that nobody may find before they are verified."""

from typing import BinaryIO, Protocol


class ScratchFile(Protocol):
    """A file that grows while others read it. Every method raises OSError."""

    async def append(self, data: bytes) -> None:
        """Add bytes at the end."""

    def file(self) -> BinaryIO:
        """The file once more, for its caller to close; it is read at offsets, as its position is everybody's."""

    async def close(self) -> None:
        """Let go of it; with the last one who does, it is gone. Safe to repeat."""


class Scratch(Protocol):
    """Makes such files."""

    async def open(self, size: int) -> ScratchFile:
        """An empty one, for so many bytes. Raises OSError, for want of room, too."""
