"""The sockets that we listen at: opened by systemd, kept by it over a restart, or bound here.

Source: systemd.socket(5), sd_listen_fds(3); "FDSTORE" in sd_notify(3).
"""

import asyncio
import os
import shutil
import socket
import string
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import structlog

from mirror import config
from mirror.runtime import systemd

_log = structlog.get_logger(__name__)
_KEPT = "kept-"
BACKLOG = 128
"""So many connections may wait until they are taken."""

_NAMEABLE = frozenset(string.ascii_letters + string.digits + string.punctuation) - {":"}
_LONGEST_NAME = 255

_Address = tuple[str, int] | str
_Name = tuple[str, int] | tuple[str, int, int, int]
_Resolved = tuple[socket.AddressFamily, socket.SocketKind, int, str, _Name]


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen: a host and a port, or the path of a unix socket, for its owner and a group."""

    address: tuple[str, int] | Path
    group: str | None = None


class Sockets:
    """The sockets of each place, by the names that these have in the settings and in the units.

    What a unit of systemd opens counts, whatever the settings say. What we bind is left with systemd, so that it goes
    on taking connections while we are started again; it counts as long as it is where the settings want it.
    """

    def __init__(self, places: Mapping[str, Place]) -> None:
        self._places = places
        self._ready = defaultdict[str, list[socket.socket]](list)
        self._where: dict[str, str] = {}

    def where(self, name: str) -> str:
        """The path of the unix socket of a place, which was asked for before."""
        return self._where[name]

    async def take(self) -> None:
        """Look through what systemd has passed; what fits no place is closed, and said."""
        found = defaultdict[str, list[socket.socket]](list)
        for each in systemd.passed():
            if listening := _listening(each):
                found[each.name].append(listening)
        for name, sockets in found.items():
            if not name.startswith(_KEPT):
                self._open(name, sockets)
        gone = [
            name for name, sockets in found.items() if name.startswith(_KEPT) and not await self._go_on(name, sockets)
        ]
        if gone:
            systemd.barrier()  # until then it holds them open, and what they are bound to

    def _open(self, name: str, sockets: list[socket.socket]) -> None:
        """Take sockets that a unit has opened."""
        if name not in self._places:
            _log.warning("socket.unknown", name=name, listen=_words(sockets), places=sorted(self._places))
            _close(sockets)
            return
        _log.info("socket.passed", name=name, listen=_words(sockets))
        self._ready[name] = sockets

    async def _go_on(self, name: str, sockets: list[socket.socket]) -> bool:
        """Take kept sockets, or let them go when they are not what is wanted."""
        place = name.removeprefix(_KEPT)
        if place in self._places and not self._ready[place] and await _fits(self._places[place], sockets):
            _log.info("socket.kept", name=place, listen=_words(sockets))
            self._ready[place] = sockets
            return True
        _log.info("socket.dropped", name=place, listen=_words(sockets))
        _close(sockets)
        systemd.notify("FDSTOREREMOVE=1", f"FDNAME={name}")
        return False

    async def of(self, name: str) -> list[socket.socket]:
        """The sockets of a place; they are the caller's. Raises OSError; SettingsError: there is no such group."""
        sockets = await self._of(name)
        self._where[name] = str(sockets[0].getsockname())
        return sockets

    async def _of(self, name: str) -> list[socket.socket]:
        place = self._places[name]
        if ready := self._ready.pop(name, []):
            return ready
        bound = [_unix(place.address)] if isinstance(place.address, Path) else await _tcp(*place.address)
        if isinstance(place.address, Path):
            _permit(place.address, place.group)
        for each in bound:  # what does not listen yet looks to systemd as if it had hung up, and is not kept
            each.listen(BACKLOG)
        if len(name) + len(_KEPT) <= _LONGEST_NAME and _NAMEABLE.issuperset(name):
            systemd.notify("FDSTORE=1", f"FDNAME={_KEPT}{name}", descriptors=[each.fileno() for each in bound])
        return bound


def _listening(passed: systemd.Passed) -> socket.socket | None:
    """What was passed, if it is a socket that takes connections."""
    try:
        found = socket.socket(fileno=passed.descriptor)
    except OSError:
        os.close(passed.descriptor)
        _log.warning("socket.unknown", name=passed.name, reason="is no socket")
        return None
    if not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        found.close()
        _log.warning("socket.unknown", name=passed.name, reason="takes no connections")
        return None
    found.setblocking(False)
    return found


async def _fits(place: Place, sockets: Iterable[socket.socket]) -> bool:
    """Whether sockets are bound where a place is, and can still be reached there."""
    bound = {_address(each.getsockname()) for each in sockets}
    if isinstance(place.address, Path):
        if bound != {str(place.address)} or not place.address.is_socket():
            return False
        _permit(place.address, place.group)
        return True
    return bound == {_address(address) for *_, address in await _resolved(*place.address)}


async def _tcp(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of a host. Raises OSError."""
    bound = list[socket.socket]()
    try:
        for family, kind, protocol, _, address in await _resolved(host, port):
            bound.append(each := socket.socket(family, kind, protocol))
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:  # or it would be in the way of the one for IPv4
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            each.bind(address)
    except OSError as error:
        _close(bound)
        raise OSError(error.errno, f"cannot listen at {host}:{port}: {error.strerror}") from error
    return bound


async def _resolved(host: str, port: int) -> set[_Resolved]:
    """What a host's name stands for, each address once."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return set(cast("list[_Resolved]", found))


def _unix(path: Path) -> socket.socket:
    """A socket at a path; one that is still there is left over from a daemon that was killed. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.fchmod(listener.fileno(), 0o600)  # what it is made with, so that there is no moment at which others may connect
    listener.bind(str(path))
    return listener


def _permit(path: Path, group: str | None) -> None:
    """Let the owner and a group connect: by default ours, of which nobody else is a member. Raises SettingsError."""
    try:
        if group:
            shutil.chown(path, group=group)
    except LookupError as error:
        raise config.SettingsError(f"{path}: {error}") from error
    path.chmod(0o660)


def _close(sockets: Iterable[socket.socket]) -> None:
    for each in sockets:
        each.close()


def _address(name: str | _Name) -> _Address:
    """What getsockname(2) says, as far as the settings do: without the flow and scope of IPv6."""
    return name if isinstance(name, str) else (name[0], name[1])


def _words(sockets: Iterable[socket.socket]) -> list[str]:
    names = [_address(each.getsockname()) for each in sockets]
    return [f"unix:{name}" if isinstance(name, str) else f"{name[0]}:{name[1]}" for name in names]
