"""A proxy in front of a registry: it notes every request, and breaks those that a test has armed a fault for."""

import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self

from tests.rig.exchange import Exchange, Request, reset_on_close
from tests.rig.faults import Fault, PassOn

_STOP = 0.05


@dataclass
class _Rule:
    """A fault, and which requests it is for."""

    fault: Fault
    method: str
    path: str
    skip: int
    times: int | None

    def fires(self, request: Request) -> bool:
        """Whether it is this one's turn; a request that matches counts."""
        if not matches(request, self.method, self.path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return self.times is None or self.times >= 0


class Proxy:
    """Forwards to `upstream` (`host:port`) from a port of its own, each request on a connection of its own.

    While the upstream is down, it takes connections and resets them.
    """

    def __init__(self, upstream: str) -> None:
        self.requests: list[Request] = []
        self.upstream = upstream
        self._rules: list[_Rule] = []
        self._lock = Lock()
        self._open: set[socket.socket] = set()
        self._closing = False
        self._server = _Server(self)
        self._thread = Thread(target=self._server.serve_forever, args=(_STOP,))

    @property
    def host(self) -> str:
        """Where it listens, as `host:port`."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.host}"

    def arm(self, fault: Fault, method: str = ".*", path: str = "", *, skip: int = 0, times: int | None = 1) -> None:
        """Of the requests whose method (all of it) and path (some of it) match, leave out `skip`, break `times`.

        Both are regular expressions; with `times` None it is all from then on. Of several faults the first armed wins.
        """
        with self._lock:
            self._rules.append(_Rule(fault, method, path, skip, times))

    def disarm(self) -> None:
        """Pass on whatever comes from now on."""
        with self._lock:
            self._rules.clear()

    def seen(self, method: str = ".*", path: str = "") -> list[Request]:
        """The requests so far that match, in the order in which they came."""
        return [request for request in self.requests if matches(request, method, path)]

    def cut_all(self) -> None:
        """End every connection there is, on both sides."""
        with self._lock:
            for connection in self._open:
                _end(connection)

    def fault_for(self, request: Request) -> Fault:
        """Note a request, and say what is to be done to it."""
        with self._lock:
            self.requests.append(request)
            return next((rule.fault for rule in self._rules if rule.fires(request)), PassOn())

    def track(self, connection: socket.socket) -> None:
        """A connection that `cut_all` is to end."""
        with self._lock:
            self._open.add(connection)
            if self._closing:
                _end(connection)

    def forget(self, connection: socket.socket) -> None:
        """A connection that is about to be closed."""
        with self._lock:
            self._open.discard(connection)

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop listening and end all connections."""
        self._server.shutdown()
        self._thread.join()
        with self._lock:
            self._closing = True
        self.cut_all()
        self._server.server_close()


class _Server(ThreadingTCPServer):
    """A thread for each connection; closing it waits for all of them."""

    request_queue_size = 128

    def __init__(self, proxy: Proxy) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.proxy = proxy

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - as in the library
        """Close it and no more: the library's FIN would come before our RST."""
        request.close()


class _Connection(StreamRequestHandler):
    """One connection of a client, and the requests on it one by one."""

    server: _Server

    def handle(self) -> None:
        """Serve until a side hangs up or a fault ends it."""
        proxy = self.server.proxy
        proxy.track(self.connection)
        try:
            while (request := Request.read(self.rfile)) and self._serve(request):
                pass
        except (OSError, HTTPException):
            reset_on_close(self.connection)
        finally:
            proxy.forget(self.connection)

    def _serve(self, request: Request) -> bool:
        """Serve one request; returns whether another may follow it."""
        proxy = self.server.proxy
        exchange = Exchange(request, self.rfile, self.connection, proxy.upstream, proxy)
        try:
            proxy.fault_for(request).serve(exchange)
        finally:
            exchange.close()
        return not exchange.is_over


def matches(request: Request, method: str, path: str) -> bool:
    """Whether a request is one of those that two regular expressions are for."""
    return bool(re.fullmatch(method, request.method) and re.search(path, request.path))


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
