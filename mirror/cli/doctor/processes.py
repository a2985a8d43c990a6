"""Who has a socket or a file, as far as the kernel tells it. Source: proc(5), socket(7)."""

import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_LISTEN = "0A"
_CREDENTIALS = struct.Struct("3i")
_SHOWN = 120


def peer_of(connection: socket.socket) -> int:
    """The process that listens at the other end of a unix socket."""
    pid, _, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(pid)


def listeners_on(port: int) -> Mapping[str, str]:
    """The inodes of the TCP sockets that listen on a port, with their addresses in the kernel's hexadecimal."""
    rows = [row.split() for table in ("tcp", "tcp6") for row in _lines(_PROC / "net" / table)[1:]]
    found = ((row[9], row[1]) for row in rows if row[3] == _LISTEN)
    return {inode: address for inode, address in found if int(address.rpartition(":")[2], 16) == port}


def holders_of(inodes: Mapping[str, str]) -> list[int]:
    """The processes that have one of these sockets open, of those whose files this user may see."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    return [int(process.name) for process in _processes() if wanted & set(_open(process))]


def lock_holder(file: Path) -> int | None:
    """The process that has a lock (flock(2)) on a file; 0 when it cannot be told, None when nobody has."""
    inode = file.stat().st_ino
    for line in _lines(_PROC / "locks"):
        fields = line.split()
        if "FLOCK" in fields and "->" not in fields:
            pid, place = max(int(fields[-4]), 0), fields[-3]
            if place.rpartition(":")[2] == str(inode) and _may_have(pid, file):
                return pid
    return None


def _may_have(pid: int, file: Path) -> bool:
    """Whether a process has a file open, or it cannot be seen: files of other filesystems have the same inodes."""
    opened = set(_open(_PROC / str(pid)))
    return not opened or str(file.resolve()) in opened


def named(pid: int) -> str:
    """A process for people: its id and its command line."""
    command = ""
    with suppress(OSError):
        command = (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return f"process {pid} ({command[:_SHOWN]})" if command else f"process {pid}"


def is_running(*programs: str) -> bool:
    """Whether a program of one of these names runs."""
    return any(line in programs for process in _processes() for line in _lines(process / "comm"))


def _processes() -> Iterator[Path]:
    return (entry for entry in _PROC.iterdir() if entry.name.isdecimal())


def _open(process: Path) -> Iterator[str]:
    with suppress(OSError):
        for handle in (process / "fd").iterdir():
            with suppress(OSError):
                yield str(handle.readlink())


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
