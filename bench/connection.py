"""HTTP/1.1 by hand, for clients that leave the processors to the servers.

It knows what the registries here answer, and no more: bodies with a length.
"""

import socket
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

_END = b"\r\n\r\n"
_PIECE = 1 << 20


class Head(NamedTuple):
    """The status and the headers of an answer, their names in small letters."""

    status: int
    headers: Mapping[str, str]

    @property
    def length(self) -> int:
        """How many bytes its body has."""
        return int(self.headers.get("content-length", 0))


class Connection:
    """One connection to `host:port` that stays open, or another one when the server wants that; it is to be closed."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._connect()

    def _connect(self) -> None:
        name, _, port = self._host.partition(":")
        self._socket = socket.create_connection((name, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def send(self, method: str, path: str) -> Head:
        """Ask for something without a body that has none either.

        Raises:
            RuntimeError: the answer is an error.
        """
        self._socket.sendall(self._request(method, path, 0))
        return self._answer()[0]

    def send_file(self, method: str, path: str, file: Path) -> Head:
        """Send a file as the body; the kernel takes it from its cache.

        Raises:
            RuntimeError: the answer is an error.
        """
        with file.open("rb") as body:
            self._socket.sendall(self._request(method, path, file.stat().st_size), socket.MSG_MORE)
            self._socket.sendfile(body)
        head, _ = self._answer()
        if head.headers.get("connection") == "close":
            self._socket.close()
            self._connect()
        return head

    def get(self, path: str, accept: str = "*/*") -> bytes:
        """Read a body.

        Raises:
            RuntimeError: the answer is an error.
        """
        self._socket.sendall(self._request("GET", path, 0, accept))
        head, body = self._answer()
        return body + self._socket.recv(head.length - len(body), socket.MSG_WAITALL)

    def drain(self, path: str) -> int:
        """Let the kernel throw a body away (tcp(7), MSG_TRUNC); returns how many bytes came.

        Raises:
            RuntimeError: the answer is an error.
        """
        self._socket.sendall(self._request("GET", path, 0))
        head, body = self._answer()
        left, nowhere = head.length - len(body), bytearray(_PIECE)
        while left and (came := self._socket.recv_into(nowhere, min(left, _PIECE), socket.MSG_TRUNC)):
            left -= came
        return head.length - left

    def _request(self, method: str, path: str, length: int, accept: str = "*/*") -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}", f"Accept: {accept}", f"Content-Length: {length}"]
        return "\r\n".join([*lines, "", ""]).encode()

    def _answer(self) -> tuple[Head, bytes]:
        """The head of an answer, and what came of its body with it."""
        came = b""
        while _END not in came:
            if not (more := self._socket.recv(1 << 16)):
                raise RuntimeError(f"{self._host} hung up: {came!r}")
            came += more
        text, _, body = came.partition(_END)
        status, *lines = text.decode().split("\r\n")
        pairs = (line.partition(": ") for line in lines)
        head = Head(int(status.split()[1]), {name.lower(): value for name, _, value in pairs})
        if head.status >= 400:  # noqa: PLR2004 - errors begin there
            raise RuntimeError(f"{self._host}: {came!r}")
        return head, body
