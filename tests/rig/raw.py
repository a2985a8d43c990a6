"""Connections by hand: what no client would do with them."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

_ANSWER = 60.0


@contextmanager
def connected(host: str, source: str = "127.0.0.1", *, buffer: int | None = None) -> Iterator[socket.socket]:
    """A connection to `host:port`; with a receive `buffer` of so many bytes it takes little before it is full."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        if buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection.settimeout(_ANSWER)
        connection.bind((source, 0))
        name, _, port = host.rpartition(":")
        connection.connect((name, int(port)))
        yield connection


def is_over(connection: socket.socket) -> bool:
    """Wait until the other side ends a connection, or says something; whether it has ended."""
    try:
        return connection.recv(1 << 16) == b""
    except ConnectionError:
        return True


def answer(connection: socket.socket) -> bytes:
    """All that comes until the other side ends the connection."""
    said = b""
    try:
        while piece := connection.recv(1 << 16):
            said += piece
    except ConnectionError:
        pass
    return said
