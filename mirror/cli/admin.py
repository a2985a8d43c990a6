"""Talking to the running daemon, over its admin socket.

By the standard library's client: it answers one question at a time, and takes a tenth of aiohttp's time to import.
"""

import json
import socket as sockets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from mirror.cli.options import settings_or_exit
from mirror.cli.screen import fail

_CONNECTED_WITHIN = 5.0

socket_option = click.option(
    "--socket",
    type=click.Path(readable=False, path_type=Path),  # whether we may use it is the kernel's to say
    help="The admin socket, instead of the one in the settings.",
)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the daemon."""

    endpoint: str
    query: Sequence[tuple[str, str]] = ()
    method: str = "GET"

    @property
    def target(self) -> str:
        """What stands in the first line of the request."""
        return f"{self.endpoint}?{urlencode(self.query)}" if self.query else self.endpoint


class RefusedError(Exception):
    """The daemon refused; the text has its own words."""


def ask(path: Path, socket: Path | None, question: Question) -> Any:  # noqa: ANN401 - it is JSON
    """One question; whatever keeps the daemon from answering it is a line and exit code 1."""
    address = socket_of(path, socket)
    with complaining(address):
        return ask_at(address, question)


def socket_of(path: Path, socket: Path | None) -> Path:
    """Where the daemon listens for operators: as the command line says, else the settings; or exit code 2."""
    return socket or settings_or_exit(path).admin.socket


def ask_at(socket: Path, question: Question, patience: float | None = None) -> Any:  # noqa: ANN401 - it is JSON
    """One question, for which to wait so many seconds. Raises OSError, HTTPException, RefusedError."""
    with _answer(socket, question, patience) as response:
        text = response.read()
    return json.loads(text) if text else None


@contextmanager
def events(socket: Path, question: Question) -> Iterator[Iterator[tuple[str, Any]]]:
    """The server-sent events of an answer, by their names; it has begun when this is entered.

    Whoever leaves before the end of it hangs up. Raises OSError, HTTPException, RefusedError.
    """
    with _answer(socket, question) as response:
        yield _read_events(response)


TROUBLES = (OSError, HTTPException, RefusedError)
"""What may go wrong in a conversation."""


def trouble(error: Exception, socket: Path) -> str:
    """What went wrong, and what to do about it."""
    match error:
        case RefusedError():
            return str(error)
        case PermissionError():
            return f"{socket}: permission denied: run it as root, or as one of the group in admin.group"
        case FileNotFoundError() | ConnectionRefusedError():
            return f"no daemon answers at {socket}: systemctl status registry-mirror"
        case _:
            return f"the daemon at {socket} broke off ({error}): journalctl --unit registry-mirror"


@contextmanager
def complaining(socket: Path) -> Iterator[None]:
    """Around talking to the daemon: what goes wrong is a line that says what to do, and exit code 1."""
    try:
        yield
    except BrokenPipeError:  # of standard output: click knows what to do
        raise
    except TROUBLES as error:
        fail(trouble(error, socket))


class _UnixConnection(HTTPConnection):
    """HTTP on a unix socket."""

    def __init__(self, path: Path, patience: float | None) -> None:
        super().__init__("registry-mirror")
        self._path = path
        self._patience = patience

    def connect(self) -> None:
        self.sock = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
        self.sock.settimeout(self._patience or _CONNECTED_WITHIN)
        self.sock.connect(str(self._path))
        self.sock.settimeout(self._patience)


@contextmanager
def _answer(socket: Path, question: Question, patience: float | None = None) -> Iterator[HTTPResponse]:
    connection = _UnixConnection(socket, patience)
    try:
        connection.request(question.method, question.target)
        response = connection.getresponse()
        if response.status >= 400:  # noqa: PLR2004 - HTTP: from there on it is an error
            errors = json.loads(response.read())["errors"]
            raise RefusedError("; ".join(f"{e['code']}: {e['message']}: {e['detail']}" for e in errors))
        yield response
    finally:
        connection.close()


def _read_events(response: HTTPResponse) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in response:
        field, _, value = line.decode().strip().partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)
