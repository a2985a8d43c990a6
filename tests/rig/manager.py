"""In systemd's place: listens to what a service says of itself, keeps its sockets, and passes them on.

Source: sd_notify(3), sd_listen_fds(3).
"""

import array
import fcntl
import os
import select
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.rig.daemon import Daemon
from tests.rig.until import until

_LARGEST = 4096
_MOST = 64
# Out of the way of 3 and those after it, where the child is to find them.
_AWAY = 100


class Manager:
    """Has the other end of NOTIFY_SOCKET; `kept` are the sockets that it was given, by their names."""

    def __init__(self, directory: Path) -> None:
        self.address = directory / "notify.sock"
        self.messages: list[list[str]] = []
        self.kept: list[tuple[str, int]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.address))
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            data, descriptors, _, _ = socket.recv_fds(self._socket, _LARGEST, _MOST)
            lines = data.decode().splitlines()
            fields = dict(line.split("=", 1) for line in lines)
            if "FDSTORE" in fields:
                kept = [fcntl.fcntl(each, fcntl.F_DUPFD, _AWAY) for each in descriptors if not _has_hung_up(each)]
                self.kept += [(fields["FDNAME"], each) for each in kept]
            if "FDSTOREREMOVE" in fields:
                gone = [each for each in self.kept if each[0] == fields["FDNAME"]]
                self.kept = [each for each in self.kept if each not in gone]
                descriptors += array.array("i", [descriptor for _, descriptor in gone])
            for descriptor in descriptors:  # also what lets a barrier pass
                os.close(descriptor)
            self.messages.append(lines)

    def said(self, line: str, times: int = 1) -> bool:
        """Whether a message had this line, so many times."""
        return sum(line in message for message in self.messages) >= times

    def wait(self, line: str, times: int = 1) -> None:
        """Wait until a message had this line."""
        until(lambda: self.said(line, times), line)

    def status(self) -> str:
        """What it said last of how it is doing."""
        words = [line for message in self.messages for line in message if line.startswith("STATUS=")]
        return words[-1].removeprefix("STATUS=") if words else ""


def _has_hung_up(descriptor: int) -> bool:
    """Whether systemd would not keep it ("FDPOLL" in sd_notify(3)); so a socket looks that does not listen yet."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return bool(poll.poll(0))


class Service(Daemon):
    """The daemon as a service of it: with the sockets that it keeps, and `opened` ones with their names."""

    def serve(self, manager: Manager, opened: Sequence[tuple[str, int]] = ()) -> "Service":
        """Start it, and wait until it is ready."""
        handed = [*opened, *manager.kept]
        self._handed = [descriptor for _, descriptor in handed]
        self.inherited = tuple(self._handed)
        self.environment["NOTIFY_SOCKET"] = str(manager.address)
        self.environment["LISTEN_FDNAMES"] = ":".join(name for name, _ in handed)
        self.environment["LISTEN_FDS"] = str(len(handed))
        self.start()
        return self

    def command(self) -> list[str]:
        """Start it with its descriptors from 3 on, and the id of its process in LISTEN_PID."""
        moves = "".join(f"exec {at}<&{each} {each}<&-; " for at, each in enumerate(self._handed, start=3))
        return ["bash", "-c", f'{moves}LISTEN_PID=$$ exec "$@"', "bash", *super().command()]


def opened(address: tuple[str, int] | Path) -> int:
    """A listening socket, as a unit of systemd opens it."""
    family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind(str(address) if isinstance(address, Path) else address)
        listener.listen()
        return fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD, _AWAY)
