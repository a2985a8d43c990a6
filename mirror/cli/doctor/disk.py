"""Disks: room for blobs, for layers and for the journal, in bytes and in files."""

import os
from collections.abc import Iterator
from pathlib import Path

from mirror import config
from mirror.cli.doctor.checks import Check, Finding, broken, ok, skipped, warning
from mirror.cli.doctor.containerd import ANSWERS, ContainerdChecks
from mirror.cli.doctor.unseen import forbidden, nearest
from mirror.core.capacity import JOURNAL_NEEDS, Capacity, Level, Marks
from mirror.runtime.disk import HostDisk

_MIB = 1 << 20
_LITTLE = 64 * _MIB
_FEW_FILES = 10_000
_SHARE = 100


class DiskChecks:
    """The disks of the journal, and of content and snapshots, where containerd says that they are."""

    def __init__(self, settings: config.Settings, containerd: ContainerdChecks) -> None:
        disk = settings.disk
        self._marks = Marks(reserve=disk.reserve, evict_at=disk.evict_at, evict_to=disk.evict_to)
        self._journal = settings.journal.path
        self._containerd = containerd

    def checks(self) -> list[Check]:
        """What there is to see of them."""
        return [
            Check("disk.read-only", self._is_written, needs=[ANSWERS]),
            Check("disk.room", self._room, needs=[ANSWERS]),
            Check("disk.journal", self._journals_room),
            Check("disk.files", self._files, after=[ANSWERS]),
        ]

    def _is_written(self) -> Finding:
        """Whether containerd's filesystems take writes."""
        frozen = [str(each) for each in self._stores() if os.statvfs(each).f_flag & os.ST_RDONLY]
        if frozen:
            remedy = "a disk that fails is made read-only: see dmesg, then mount it again for writing"
            return broken(f"the filesystem of {', '.join(frozen)} is read-only", remedy)
        return ok("the filesystems of containerd are mounted for writing")

    def _room(self) -> Finding:
        """How full containerd's disks are, against the marks of `[disk]`."""
        levels = self._levels()
        if not levels:
            return skipped(
                "containerd's directories cannot be seen from here, so there are no limits but the disk's own"
            )
        tightest = min(levels, key=lambda level: level.spare)
        if tightest.spare <= 0:
            remedy = "registry-mirror evict --all, a larger disk, or a smaller disk.reserve"
            return broken(f"{_shown(tightest)}: pushes are refused with 507", remedy)
        for level in levels:
            if level.above(self._marks.evict_at) > 0:
                seen = f"{_shown(level)}: more than disk.evict_at, so images go down to {self._marks.evict_to} %"
                return warning(seen, "a larger disk, limits in [retention], or other marks in [disk]")
        return ok(_shown(tightest))

    def _journals_room(self) -> Finding:
        """Whether the journal can grow."""
        directory = nearest(self._journal.parent)
        try:
            _, free = HostDisk().room(directory)
        except OSError as error:
            return forbidden(error) or broken(str(error), "set journal.path")
        if free < JOURNAL_NEEDS:
            seen = f"{directory}, where the journal is, has {free} bytes free: pushes are refused with 507"
            return broken(seen, "make room there, or move the journal (journal.path) while the daemon is stopped")
        if free < _LITTLE:
            return warning(f"{directory}, where the journal is, has {free // _MIB} MiB free", "make room there")
        return ok(f"{directory} has {free // _MIB} MiB free for the journal")

    def _files(self) -> Finding:
        """Whether more files can be made: a layer may have many thousands."""
        for directory in {nearest(self._journal.parent), *self._stores()}:
            found = os.statvfs(directory)
            few = min(_FEW_FILES, found.f_files // _SHARE)
            if found.f_files and found.f_favail <= few:  # some filesystems have no such limit, and say 0
                seen = f"the filesystem of {directory} has {found.f_favail} of {found.f_files} inodes left"
                remedy = "registry-mirror evict --all, or remove small files: df --inodes"
                return broken(seen, remedy) if not found.f_favail else warning(seen, remedy)
        return ok("there are inodes left on each disk")

    def _levels(self) -> list[Level]:
        facts = self._containerd.facts
        if facts is None:
            return []
        capacity = Capacity(HostDisk(), self._marks, self._journal)
        capacity.learn(facts)
        return capacity.levels()

    def _stores(self) -> Iterator[Path]:
        """Containerd's directories, of those that can be seen from here."""
        facts = self._containerd.facts
        for directory in (facts.content, facts.snapshots) if facts else ():
            if directory and directory.exists():
                yield directory


def _shown(level: Level) -> str:
    used = 100 - level.free * 100 // max(level.total, 1)
    sizes = f"{level.free // _MIB} MiB free of {level.total // _MIB}, {level.reserve // _MIB} in reserve"
    return f"{level.directory} is {used} % full ({sizes})"
