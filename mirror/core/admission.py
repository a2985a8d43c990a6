"""Whether there is room for what is about to be pushed, before its first byte is stored."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mirror.core.capacity import Capacity
from mirror.oci.errors import Problem, RegistryError

WINDOW = 8 * 1024 * 1024
"""Bytes; a body of unknown length is admitted so much at a time, if there is room for twice that.

So much of what was taken before may still be in memory, on its way to the disk.
"""

_RETRY_AFTER = "30"


class Allowance:
    """What one body may still write, in bytes; what goes beyond it is asked for a window at a time."""

    def __init__(self, ask: Callable[[int], None], length: int) -> None:
        self._ask = ask
        self.left = length

    def take(self, size: int) -> None:
        """Count `size` bytes that are about to be written. Raises RegistryError: NO_ROOM."""
        while self.left < size:
            self._ask(2 * WINDOW)
            self.left += WINDOW
        self.left -= size


class Admission:
    """Bodies that are under way share what containerd's disks have to spare; `want` is told of what was refused."""

    def __init__(self, capacity: Capacity, want: Callable[[int], None]) -> None:
        self._capacity = capacity
        self._want = want
        self._open: set[Allowance] = set()

    def check(self, length: int) -> None:
        """Refuse `length` bytes that would not leave the reserve free, once all that was admitted is written.

        Raises:
            RegistryError: NO_ROOM.
        """
        level = self._capacity.tightest()
        promised = sum(allowance.left for allowance in self._open)
        if level is None or not length or level.spare - promised >= length:
            return
        self._want(length + promised)
        detail = f"{length} bytes needed, {promised} promised to other pushes; {level}"
        raise RegistryError(Problem.NO_ROOM, detail, {"Retry-After": _RETRY_AFTER})

    @contextmanager
    def admitted(self, length: int | None) -> Iterator[Allowance]:
        """Keep room for a body of `length` bytes (None: unknown) until it is written. Raises RegistryError: NO_ROOM."""
        self.check(length or 0)
        allowance = Allowance(self.check, length or 0)
        self._open.add(allowance)
        try:
            yield allowance
        finally:
            self._open.discard(allowance)
