"""Entries for systemd's journal, with a field for each key, so that `journalctl EVENT=task.failed` finds them.

Source: systemd's "Native Journal Protocol"; JOURNAL_STREAM in systemd.exec(5); systemd.journal-fields(7).
"""

import array
import os
import re
import socket
import struct
import sys
from collections.abc import Mapping
from fcntl import F_ADD_SEALS, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE, fcntl
from pathlib import Path
from typing import TextIO

SOCKET = Path("/run/systemd/journal/socket")
"""Where journald takes entries."""

IDENTIFIER = "registry-mirror"
"""Whose entries they are: `journalctl --identifier`."""

_NAME = re.compile(r"[^A-Z0-9_]")
_LONGEST_NAME = 64
# Larger ones do not fit into a datagram: they go as a file that nobody can change any more.
_FITS = 128 * 1024
_SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE


def is_journal(stream: TextIO) -> bool:
    """Whether a stream of ours leads to the journal, and nobody has put it elsewhere since we were started."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def entry(fields: Mapping[str, str]) -> bytes:
    """One entry. What has line breaks is preceded by its length."""
    parts = bytearray()
    for key, value in fields.items():
        name, data = _NAME.sub("_", key.upper()).lstrip("_0123456789")[:_LONGEST_NAME].encode(), value.encode()
        if b"\n" in data:
            parts += name + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
        else:
            parts += name + b"=" + data + b"\n"
    return bytes(parts)


class Journal:
    """The way to journald. It never waits: what journald does not take at once is counted, and told of later.

    While nobody listens at the socket at all, entries go to standard error as they are.
    """

    def __init__(self, path: Path = SOCKET) -> None:
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._lost = 0

    def __del__(self) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Hand an entry over."""
        if self._lost:
            message = f"journal.lost entries={self._lost}"
            fields = {"MESSAGE": message, "PRIORITY": "4", "SYSLOG_IDENTIFIER": IDENTIFIER, "EVENT": "journal.lost"}
            if not self._deliver(entry({**fields, "ENTRIES": str(self._lost)})):
                self._lost += 1
                return
            self._lost = 0
        if not self._deliver(data):
            self._lost += 1

    def _deliver(self, data: bytes) -> bool:
        try:
            if len(data) <= _FITS:
                self._socket.sendto(data, self._path)
            else:
                self._send_file(data)
        except BlockingIOError:
            return False
        except OSError:
            sys.stderr.write(data.decode())
        return True

    def _send_file(self, data: bytes) -> None:
        descriptor = os.memfd_create("journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(data)
            fcntl(descriptor, F_ADD_SEALS, _SEALS)
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
            self._socket.sendmsg([b""], ancillary, 0, self._path)
        finally:
            os.close(descriptor)
