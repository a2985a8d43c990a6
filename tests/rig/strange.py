"""Servers that are no registry, or one that something is wrong with."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from tests.rig.ports import free_port

REGISTRY = {"Docker-Distribution-Api-Version": "registry/2.0", "Content-Type": "application/json"}
"""The headers by which a registry is known."""


@dataclass(frozen=True)
class Said:
    """What a server says to any request; by itself, a registry that lets everybody in."""

    status: int = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=lambda: REGISTRY)
    body: bytes = b"{}"


class Strange:
    """A server on the loopback that always says the same; with the files of a certificate it speaks TLS.

    By HEAD nothing is to be found there. Its clock may be off by so many seconds.
    """

    def __init__(self, said: Said, tls: Mapping[str, str] | None = None, *, ahead: float = 0.0) -> None:
        self._server = _Server(("127.0.0.1", free_port()), _handler(said, ahead))
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls["certificate"], tls["key"])
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        """Start it."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Clients hang up on purpose."""


def refusing(words: str) -> Strange:
    """A registry that denies everything, with these words."""
    body = {"errors": [{"code": "DENIED", "message": words}]}
    return Strange(Said(HTTPStatus.FORBIDDEN, body=json.dumps(body).encode()))


@contextmanager
def silent() -> Iterator[str]:
    """The URL of a server that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", free_port())) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def unreachable() -> Iterator[str]:
    """A URL at which connections are not even refused: others wait there already, and the kernel drops all further."""
    with socket.create_server(("127.0.0.1", free_port()), backlog=0) as server:
        address = server.getsockname()
        with socket.create_connection(address):
            yield f"http://127.0.0.1:{address[1]}"


def _handler(said: Said, ahead: float) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(said)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer(said)

        def do_HEAD(self) -> None:
            self._answer(Said(HTTPStatus.NOT_FOUND, body=b""))

        def _answer(self, said: Said) -> None:
            self.send_response(said.status)
            for name, value in {**said.headers, "Content-Length": str(len(said.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said.body)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string((timestamp or time.time()) + ahead)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    return Handler
