"""The filesystems of this machine, behind the `Disk` port that the rules are given."""

import os
from pathlib import Path


class HostDisk:
    """The filesystems of the machine. The kernel answers, not the disk, so this need not leave the event loop."""

    def room(self, directory: Path) -> tuple[int, int]:
        """Size and free bytes; blocks that are kept for root do not count as free (statvfs(3))."""
        found = os.statvfs(directory)
        return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
