"""How full the disks are that pushes end on, and how full they may get."""

from dataclasses import dataclass
from pathlib import Path

import structlog

from mirror.core.ports import Disk, StoreFacts

_log = structlog.get_logger(__name__)
_GIB = 1 << 30
# Of a disk that is small, the reserve is a share.
_RESERVED_SHARE = 20
# A change of the journal is some pages of 4 KiB, and its WAL grows to a thousand of them.
JOURNAL_NEEDS = 1 << 20


@dataclass(frozen=True, slots=True)
class Marks:
    """How full containerd's disks may get.

    `reserve` is what pushes leave free, in bytes; None: a twentieth of the disk, but no more than 1 GiB. Eviction
    begins when more than `evict_at` percent are in use, and goes on until no more than `evict_to` percent are.
    """

    reserve: int | None = None
    evict_at: int = 85
    evict_to: int = 80


@dataclass(frozen=True, slots=True)
class Level:
    """A filesystem at one moment; all in bytes. `reserve` is what is to be left free."""

    directory: Path
    total: int
    free: int
    reserve: int

    @property
    def spare(self) -> int:
        """What may be written before the reserve is touched; below 0 when it was."""
        return self.free - self.reserve

    def above(self, percent: int) -> int:
        """How many bytes more than `percent` of it are in use; below 0 when it is less."""
        return self.total - self.free - self.total * percent // 100

    def __str__(self) -> str:
        return f"{self.directory} has {self.free} bytes free of {self.total}, {self.reserve} are kept in reserve"


class Capacity:
    """The disks of containerd's content and snapshots, and of the journal.

    Until containerd has told where its own are, and when they cannot be seen from here, they have no limits.
    """

    def __init__(self, disk: Disk, marks: Marks, journal: Path) -> None:
        self.marks = marks
        self._disk = disk
        self._journal = journal.parent
        self._directories: frozenset[Path] = frozenset()
        self._unseen: set[Path | None] = set()

    def learn(self, facts: StoreFacts) -> None:
        """Where containerd keeps things, from now on."""
        told = {facts.content, facts.snapshots}
        self._directories = frozenset(directory for directory in told if directory)
        if None in told:
            self._complain(None, "containerd does not tell where it keeps content or snapshots")

    def tightest(self) -> Level | None:
        """That of containerd's filesystems with the least to spare; None when none is known."""
        return min(self.levels(), key=lambda level: level.spare, default=None)

    def journal(self) -> Level:
        """That of the journal, whose reserve is what a change of it may take."""
        total, free = self._disk.room(self._journal)
        return Level(self._journal, total, free, JOURNAL_NEEDS)

    def excess(self) -> int:
        """How many bytes must go: none until a filesystem is fuller than `evict_at`, then down to `evict_to`."""
        marks = self.marks
        full = [level for level in self.levels() if level.above(marks.evict_at) > 0]
        return max((level.above(marks.evict_to) for level in full), default=0)

    def shortage(self) -> str | None:
        """Why nothing can be pushed just now, None when it can."""
        journal = self.journal()
        if journal.spare < 0:
            return f"{self._journal}, where the journal is, has {journal.free} bytes free"
        level = self.tightest()
        return str(level) if level and level.spare <= 0 else None

    def levels(self) -> list[Level]:
        """Containerd's filesystems, as far as they are known."""
        levels = [self._level(directory) for directory in sorted(self._directories)]
        return [level for level in levels if level]

    def _level(self, directory: Path) -> Level | None:
        try:
            total, free = self._disk.room(directory)
        except OSError as error:
            self._complain(directory, str(error))
            return None
        self._unseen.discard(directory)
        reserve = min(_GIB, total // _RESERVED_SHARE) if self.marks.reserve is None else self.marks.reserve
        return Level(directory, total, free, reserve)

    def _complain(self, directory: Path | None, reason: str) -> None:
        """Say once that pushes are taken without a look at the disk."""
        if directory not in self._unseen:
            self._unseen.add(directory)
            _log.warning("disk.unknown", directory=directory and str(directory), reason=reason)
