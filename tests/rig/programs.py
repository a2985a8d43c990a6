"""Where client programs come from, and the room they run in: nothing of the host's own state is within their reach."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_PATIENCE = 120.0

# In a mount namespace of its own: an empty /run (where the host's containerd and docker have their sockets), a private
# /var/lib/containers (where skopeo, buildah and podman remember what a registry has), and maybe another root.
_ROOM = """
set -e
root=$1 scratch=$2 containers=$3 etc=$4
shift 4
if [ "$root" != / ]; then
    mount --rbind "$root" "$root" # docker wants its root to be a mount point
    mount -t tmpfs tmpfs "$root/tmp" # where the place of $scratch is made, so that it does not stay in the root
    for place in /proc /sys /dev "$scratch"; do
        mkdir -p "$root/$place"
        mount --rbind "$place" "$root/$place"
    done
fi
mkdir -p "$containers" "$root/var/lib/containers"
mount -t tmpfs tmpfs "$root/run"
mount --bind "$containers" "$root/var/lib/containers"
for place in ${etc:+"$etc"/*}; do
    if [ -d "$place" ]; then mkdir -p "$root/etc/${place##*/}"; fi
    mount --bind "$place" "$root/etc/${place##*/}"
done
exec chroot "$root" "$@"
"""


class Programs:
    """Debian's programs: those of this machine, or of another release in the directory `root`.

    They see `scratch` at the same path as we do. They start in `state`, a directory below it, and keep what they have
    there. What is in the directory `etc` they see in their `/etc` instead of what is there.
    """

    def __init__(self, scratch: Path, state: Path, root: Path = Path("/"), *, etc: Path | None = None) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self.state = state
        self._scratch, self._root, self._etc = scratch, root, etc

    def with_state(self, state: Path) -> "Programs":
        """The same programs for another client."""
        return Programs(self._scratch, state, self._root, etc=self._etc)

    def has(self, program: str) -> bool:
        """Whether a program is installed."""
        return any((self._root / place.lstrip("/") / program).exists() for place in _PATH.split(":"))

    def command(self, *arguments: str) -> list[str]:
        """The command line that runs a program in its room."""
        places = [str(self._root), str(self._scratch), str(self.state / "containers"), str(self._etc or "")]
        room = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _ROOM, "room", *places]
        home = [f"HOME={self.state}", f"PATH={_PATH}", f"TMPDIR={self._scratch}"]
        return [*room, "env", "--ignore-environment", f"--chdir={self.state}", *home, *arguments]

    def run(self, *arguments: str, env: Mapping[str, str] | None = None, said: str = "") -> str:
        """Run a program to its end, with nothing but `env` in its environment; return what it printed.

        What is `said` is what it reads.

        Raises:
            RuntimeError: with the program's own words.
        """
        given = [f"{name}={value}" for name, value in (env or {}).items()]
        done = subprocess.run(
            self.command(*given, *arguments),
            input=said,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout


def missing_privilege() -> str:
    """What this machine does not let us do; empty when it lets us do everything."""
    if os.geteuid():
        return "real clients in rooms of their own need root"
    room = ["unshare", "--mount", "--propagation", "private", "mount", "-t", "tmpfs", "tmpfs", "/run"]
    done = subprocess.run(room, capture_output=True, text=True, check=False)
    return f"no mount namespaces here: {done.stderr.strip()}" if done.returncode else ""
