"""Reading server-sent events, as a browser's EventSource does."""

import json
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ANSWER = 60.0


@dataclass(frozen=True)
class Event:
    """One event."""

    name: str
    data: dict[str, Any]


def events(lines: Iterable[bytes]) -> Iterator[Event]:
    """The events in a stream; comments are left out."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif "data" in fields:
            yield Event(fields["event"], json.loads(fields["data"]))
            fields = {}


@contextmanager
def listening(address: Path, path: str) -> Iterator[Iterator[Event]]:
    """The events of an address on a unix socket; at the end it hangs up."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_ANSWER)
        connection.connect(str(address))
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())  # 1.0: no chunks to be put together
        with connection.makefile("rb") as answer:
            assert b" 200 " in answer.readline()
            while answer.readline().strip():
                pass
            yield events(answer)
