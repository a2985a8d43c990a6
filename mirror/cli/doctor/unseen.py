"""What only the daemon sees, or only its user; and what is not there yet."""

import os
from pathlib import Path

from mirror.cli.doctor.checks import Finding, skipped

_DAEMONS_OWN = ("credential:", "env:")


def unseen(error: Exception) -> Finding | None:
    """The finding for a secret that is given to the daemon alone, None for another trouble."""
    if not any(source in str(error) for source in _DAEMONS_OWN):
        return None
    return skipped(
        f"{error}: this command is not started as the daemon is",
        "give it the same: systemd-run --pipe --property LoadCredential=NAME:FILE registry-mirror doctor",
    )


def forbidden(error: OSError) -> Finding | None:
    """The finding for what this user may not look at, None for root, who is the daemon's user most likely."""
    if not isinstance(error, PermissionError) or os.geteuid() == 0:
        return None
    return skipped(f"user {os.geteuid()} may not look: {error}", "run this as root")


def nearest(path: Path) -> Path:
    """A directory, or the lowest one above it that there is."""
    return next(each for each in (path, *path.parents) if each.exists())
