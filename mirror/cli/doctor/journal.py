"""The journal: whether its directory takes it, its filesystem keeps it, and its file can be trusted."""

import re
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from mirror.cli.doctor.checks import Check, Finding, broken, ok, warning
from mirror.cli.doctor.daemon import ANSWERS, DaemonChecks
from mirror.cli.doctor.processes import lock_holder, named
from mirror.cli.doctor.unseen import forbidden, nearest
from mirror.journal.checkup import Checkup, read_only
from mirror.journal.migrate import migrations, version

_PATIENCE = 3.0
_SYSTEMD = 1
_NETWORKED = ("nfs", "cifs", "smb", "9p", "fuse.sshfs", "ceph", "glusterfs", "fuse.glusterfs", "afs", "lustre")
_IN_MEMORY = ("tmpfs", "ramfs")
_RESCUE = "stop the daemon, move it away with its -wal and -shm, mend a copy (sqlite3 COPY .recover) or start without"

_ESCAPED = re.compile(r"\\([0-7]{3})")


class JournalChecks:
    """The journal at `path`, which the daemon may have open."""

    def __init__(self, path: Path, daemon: DaemonChecks) -> None:
        self._path = path
        self._daemon = daemon

    def checks(self) -> list[Check]:
        """What there is to see of it."""
        return [
            Check("journal.directory", self._directory),
            Check("journal.filesystem", self._filesystem),
            Check("journal.lock", self._lock, after=[ANSWERS]),
            Check("journal.file", self._file, seconds=2 * _PATIENCE),
        ]

    def _directory(self) -> Finding:
        """Whether files can be made in it; one is made that has no name, and is gone at once."""
        directory = nearest(self._path.parent)
        try:
            with tempfile.TemporaryFile(dir=directory):
                return ok(f"{self._path.parent} can be written to")
        except OSError as error:
            if finding := forbidden(error):
                return finding
            remedy = f"see that the daemon may write there (findmnt --target {directory}), or set journal.path"
            return broken(f"no file can be made in {directory}: {error.strerror}", remedy)

    def _filesystem(self) -> Finding:
        """Whether it is one that keeps what was synced, and on which locks count."""
        directory = nearest(self._path.parent)
        kind = _filesystem_of(directory)
        if kind.startswith(_NETWORKED):
            seen = (
                f"{directory} is on a network filesystem ({kind}), on which SQLite's log and locks cannot be relied on"
            )
            return warning(seen, "set journal.path to a disk of this host")
        if kind in _IN_MEMORY:
            seen = f"{directory} is in memory ({kind}): acknowledged pushes are lost when the host restarts"
            return warning(seen, "set journal.path to a disk of this host")
        return ok(f"{directory} is on {kind}")

    def _lock(self) -> Finding:
        """Whether another daemon than the one that answers has it."""
        lock = self._path.with_name(f"{self._path.name}.lock")
        try:
            holder = lock_holder(lock)
        except OSError as error:
            return forbidden(error) or ok("no daemon has it")
        if holder is None:
            return ok("no daemon has it")
        if self._daemon.pid in {holder, _SYSTEMD}:
            return ok(f"the daemon has it ({named(holder)})")
        remedy = "end that one, or set another journal.path: each daemon has a journal of its own"
        return broken(f"{named(holder)} has it, and is not the daemon at the admin socket", remedy)

    def _file(self) -> Finding:
        """Whether all of it can be read and fits together, as far as there is time for it."""
        try:
            damage = self._damage() if self._path.stat().st_size else ""
        except FileNotFoundError:
            return ok(f"{self._path} is made at the first start")
        except OSError as error:
            return forbidden(error) or broken(f"{self._path}: {error.strerror}", "set journal.path")
        return broken(f"{self._path} is damaged: {damage}", _RESCUE) if damage else self._version()

    def _damage(self) -> str:
        """What is wrong with it, as far as it can be read in a while."""
        try:
            with closing(Checkup(self._path)) as checkup:
                return checkup.verdict(_PATIENCE)
        except TimeoutError:
            return ""
        except sqlite3.DatabaseError as error:
            return str(error)

    def _version(self) -> Finding:
        with closing(read_only(self._path)) as connection:
            found, known = version(connection), len(migrations())
        if found > known:
            seen = f"{self._path} is of version {found}, and this program knows up to {known}"
            return broken(seen, "install the version of registry-mirror that wrote it, or a newer one")
        return ok(f"{self._path} is sound, as far as there was time to read it")


def _filesystem_of(directory: Path) -> str:
    """The kind of the filesystem that a directory is on. Source: proc(5), /proc/pid/mountinfo."""
    found = ""
    longest = -1
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place, _, about = line.partition(" - ")
        point = _ESCAPED.sub(lambda escaped: chr(int(escaped[1], 8)), place.split()[4])
        if directory.resolve().is_relative_to(point) and len(point) >= longest:
            found, longest = about.split()[0], len(point)
    return found
