"""One request on its way through `proxy`, and the steps that a fault is made of; HTTP/1.1 by hand, to the byte."""

import fcntl
import select
import socket
import struct
import termios
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, parse_headers
from io import BufferedIOBase
from threading import Event
from typing import Protocol, Self
from urllib.parse import urlsplit

from tests.rig.until import until
from tests.rig.wire import Answer

_PIECE = 1 << 16
FRAMING = frozenset({"connection", "content-length", "transfer-encoding"})
"""The headers that belong to a connection, and not to what goes over it."""
_BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR


@dataclass
class Request:
    """What a client asked for and what came of it so far; of its credentials only whether there were any."""

    method: str
    target: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    at: float
    """When its head had come, on the monotonic clock."""
    taken: int = 0
    """How many bytes of its body were read."""
    status: int | None = None
    """What it was answered; None while it is not, and if it never is."""

    @classmethod
    def read(cls, stream: BufferedIOBase) -> Self | None:
        """The head of the next request; None when the client has hung up."""
        line = stream.readline().decode("latin-1").split(" ")
        return cls(line[0], line[1], dict(parse_headers(stream)), time.monotonic()) if len(line) > 1 else None

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path

    @property
    def size(self) -> int:
        """How many bytes its body is announced to have; the rig's clients always announce it."""
        return int(self.headers.get("Content-Length", "0"))

    @property
    def is_authorized(self) -> bool:
        """Whether it came with credentials."""
        return "Authorization" in self.headers


class Tracker(Protocol):
    """Knows the connections that somebody may want to cut."""

    def track(self, connection: socket.socket) -> None:
        """One more."""

    def forget(self, connection: socket.socket) -> None:
        """One less: it is about to be closed."""


class Exchange:
    """The client's side of a request and, once something was forwarded, the upstream's.

    Every step raises OSError or HTTPException when a side is gone; the client's connection is then reset.
    """

    def __init__(
        self, request: Request, stream: BufferedIOBase, client: socket.socket, upstream: str, tracker: Tracker
    ) -> None:
        self.request = request
        self.is_over = False
        """Whether no other request can follow on this connection."""
        self._stream = stream
        self._client = client
        self._upstream = HTTPConnection(upstream)
        self._tracker = tracker

    def piece(self, upto: int | None = None) -> bytes:
        """The next bytes of the body; none after its last, or after `upto` in all."""
        end = self.request.size if upto is None else min(upto, self.request.size)
        left = end - self.request.taken
        piece = self._stream.read1(min(left, _PIECE))
        if left and not piece:
            raise ConnectionResetError("the client hung up")
        self.request.taken += len(piece)
        return piece

    def take(self, upto: int | None = None) -> None:
        """Read the body, or its first `upto` bytes, and drop them."""
        while self.piece(upto):
            pass

    def forward(self, upto: int | None = None) -> None:
        """Send the head to the upstream, and the body, or its first `upto` bytes."""
        self._begin()
        while piece := self.piece(upto):
            try:
                self._upstream.send(piece)
            except OSError:  # it has said no, and will not listen any longer
                break

    def answer(self) -> Answer:
        """What the upstream answers."""
        answer = self._upstream.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())

    def abandon(self) -> None:
        """Hang up on the upstream, and wait until it is done: all that it was sent counts."""
        if self.request.taken < self.request.size:
            self._upstream.sock.shutdown(socket.SHUT_WR)
        with suppress(OSError, HTTPException):
            self.answer()

    def reply(self, answer: Answer, upto: int | None = None) -> None:
        """Answer the client, or send it as many bytes of the answer, its head included."""
        whole = upto is None
        self.is_over |= not whole or self.request.taken < self.request.size
        self.request.status = answer.status if whole else None
        self._client.sendall(self._wire(answer)[:upto])
        if whole and self.is_over:
            self._linger()

    def reply_in_parts(self, answer: Answer, upto: int, go_on: Event) -> None:
        """Answer the client, but wait after so many bytes."""
        self.is_over |= self.request.taken < self.request.size
        whole = self._wire(answer)
        self._client.sendall(whole[:upto])
        go_on.wait()
        self._client.sendall(whole[upto:])
        self.request.status = answer.status

    def reset(self) -> None:
        """End the client's connection with an RST, once it has what it was sent."""
        until(lambda: not self._unacknowledged(), "the client has all that was sent", 60)
        self.is_over = True
        reset_on_close(self._client)

    def hang(self) -> None:
        """Do nothing until the client hangs up, or its connection is cut."""
        self.is_over = True
        waiting = select.poll()
        waiting.register(self._client, _GONE)
        waiting.poll()

    def close(self) -> None:
        """Let go of the upstream."""
        if self._upstream.sock:
            self._tracker.forget(self._upstream.sock)
        self._upstream.close()

    def _begin(self) -> None:
        self._upstream.connect()
        self._tracker.track(self._upstream.sock)
        self._upstream.putrequest(self.request.method, self.request.target, skip_host=True, skip_accept_encoding=True)
        for name, value in self.request.headers.items():
            self._upstream.putheader(name, value)
        self._upstream.endheaders()

    def _wire(self, answer: Answer) -> bytes:
        has_body = self.request.method != "HEAD" and answer.status not in _BODILESS
        lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items() if name.lower() not in FRAMING]
        length = str(len(answer.body)) if has_body else answer.headers.get("Content-Length")
        lines += [f"Content-Length: {length}"] if length is not None else []
        lines += ["Connection: close"] if self.is_over else []
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + (answer.body if has_body else b"")

    def _linger(self) -> None:
        """Let a client that is still sending read its answer: a plain close would reset the connection."""
        self._client.shutdown(socket.SHUT_WR)
        while self._stream.read1(_PIECE):
            pass

    def _unacknowledged(self) -> int:
        left = bytearray(4)
        fcntl.ioctl(self._client, termios.TIOCOUTQ, left)
        return int.from_bytes(left, "little")


def reset_on_close(connection: socket.socket) -> None:
    """Let a connection end with an RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
