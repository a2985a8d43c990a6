"""Networks of their own: without a name, so that the kernel takes them away with whoever was in them."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

_HERE = "/proc/thread-self/ns/net"
_NEW_NETWORK = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A network namespace, made by its constructor; it lasts until `close` and until all that runs in it has ended."""

    def __init__(self) -> None:
        with _coming_back():
            _call("unshare", _NEW_NETWORK)
            self._handle = os.open(_HERE, os.O_RDONLY)

    @property
    def path(self) -> str:
        """Where other processes can open it."""
        return f"/proc/{os.getpid()}/fd/{self._handle}"

    @contextmanager
    def entered(self) -> Iterator[Self]:
        """Have this thread in it: its new sockets, the settings it writes and the programs it starts."""
        with _coming_back():
            enter(self._handle)
            yield self

    def set(self, **settings: str) -> None:
        """Write kernel settings of the IPv4 stack: each namespace has its own."""
        with self.entered():
            for name, value in settings.items():
                Path("/proc/sys/net/ipv4", name).write_text(value)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._handle)


def enter(handle: int) -> None:
    """Move this thread into the namespace of an open file, for good."""
    _call("setns", handle, _NEW_NETWORK)


@contextmanager
def _coming_back() -> Iterator[None]:
    here = os.open(_HERE, os.O_RDONLY)
    try:
        yield
    finally:
        enter(here)
        os.close(here)


def _call(name: str, *arguments: int) -> None:
    """A system call that `os` of Python 3.11 has not. Raises OSError."""
    if getattr(_LIBC, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
