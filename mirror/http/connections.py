"""Connections of builders: how many there may be, and how long each is waited for.

aiohttp waits for the head of a request for as long as for another request, and counts nothing. So bytes come by here on
their way to it.
"""

import asyncio
import json
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from mirror.core.fairness import AtOnce
from mirror.core.party import source_of
from mirror.core.ports import Clock
from mirror.oci.errors import Problem, RegistryError

_log = structlog.get_logger(__name__)
_LOOK_EVERY = 1.0
_TRY_AGAIN = 5.0
_EVERYBODY = ""
_LONGEST_SILENCE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Patience:
    """How many seconds a client is waited for.

    `head`: until the head of a request is whole, from its first byte on, or that of the connection; `keep`: until there
    is another request; `idle`: while it takes nothing of what it is sent; `total`: until a request is answered.
    """

    head: float
    keep: float
    idle: float
    total: float


class Connection(asyncio.Protocol):
    """One connection, between the transport and aiohttp's own protocol."""

    def __init__(self, inner: asyncio.Protocol, connections: "Connections") -> None:
        self._inner = inner
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._source = ""
        self._is_counted = False
        self._is_between = False
        self._due = 0.0
        self._reason = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`: one more than there may be is told so, and hung up on."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._source = source_of(peer[0] if isinstance(peer, tuple) else None)
        try:
            self._connections.add(self, self._source)
        except RegistryError as refusal:
            self._transport.write(_answer(refusal))
            self._transport.close()
            return
        self._is_counted = True
        self._wait(self._connections.patience.head, "no request came")
        _limit_silence(transport.get_extra_info("socket"), self._connections.patience.idle)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._is_between:
            self._is_between = False
            self._wait(self._connections.patience.head, "the head of a request took too long")
        if self._is_counted:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """See `asyncio.Protocol`."""
        return self._inner.eof_received() if self._is_counted else None

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if self._is_counted:
            self._connections.remove(self, self._source)
            self._inner.connection_lost(error)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._inner.resume_writing()

    def begin(self) -> None:
        """A request is handled from now on."""
        self._is_between = False
        self._wait(self._connections.patience.total, "a request took too long")

    def end(self) -> None:
        """It was handled; what is left of its answer, and the next request, are waited for."""
        self._is_between = True
        self._wait(self._connections.patience.keep, "")

    def hang_up_if_due(self, now: float) -> None:
        """End what was waited for long enough; `now` is monotonic."""
        if self._transport is None or now < self._due:
            return
        if self._reason:
            _log.warning("connection.overdue", source=self._source, reason=self._reason)
        self._transport.abort()

    def _wait(self, seconds: float, reason: str) -> None:
        self._due, self._reason = self._connections.now() + seconds, reason


class Connections:
    """Those of all listeners: at most `most`, and `each` from one place."""

    def __init__(self, clock: Clock, patience: Patience, *, most: int, each: int) -> None:
        self.patience = patience
        self.now = clock.monotonic
        self._clock = clock
        self._all = AtOnce(most, Problem.TOO_MANY_CONNECTIONS, _TRY_AGAIN)
        self._each = AtOnce(each, Problem.TOO_MANY_CONNECTIONS, _TRY_AGAIN)
        self._open = set[Connection]()
        self._refused = Counter[str]()

    def limit(self, patience: Patience, *, most: int, each: int) -> None:
        """Other limits, for what begins from now on."""
        self.patience = patience
        self._all.most, self._each.most = most, each

    @property
    def number(self) -> int:
        """How many there are."""
        return len(self._open)

    def factory(self, server: web.Server) -> Callable[[], Connection]:
        """What makes a protocol for each connection to a server of aiohttp."""
        return lambda: Connection(server(), self)

    async def watch(self) -> None:
        """Hang up on those that were waited for long enough, for as long as the daemon runs."""
        while True:
            await self._clock.sleep(_LOOK_EVERY)
            self._tell_of_refused()
            for connection in list(self._open):
                connection.hang_up_if_due(self.now())

    def add(self, connection: Connection, source: str) -> None:
        """Count one more. Raises RegistryError: TOO_MANY_CONNECTIONS."""
        try:
            self._count(source)
        except RegistryError:
            self._refused[source] += 1
            raise
        self._open.add(connection)

    def _count(self, source: str) -> None:
        self._each.begin(source)
        try:
            self._all.begin(_EVERYBODY)
        except RegistryError:
            self._each.end(source)
            raise

    def _tell_of_refused(self) -> None:
        """One line for all of them: whoever floods us does not flood the log."""
        if self._refused:
            (source, most), *_ = self._refused.most_common(1)
            _log.warning("connections.refused", number=self._refused.total(), source=source, of_source=most)
            self._refused.clear()

    def remove(self, connection: Connection, source: str) -> None:
        """It has ended."""
        self._open.discard(connection)
        self._each.end(source)
        self._all.end(_EVERYBODY)


@web.middleware
async def timed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell the connection when a request of it is handled."""
    connection = request.transport.get_protocol() if request.transport else None
    if not isinstance(connection, Connection):  # it is lost already
        return await handler(request)
    connection.begin()
    try:
        return await handler(request)
    finally:
        connection.end()


def _limit_silence(connection: socket.socket | None, seconds: float) -> None:
    """Have the kernel end it when the client takes nothing: only that sees what is still to be sent (tcp(7))."""
    if connection is not None and connection.family != socket.AF_UNIX:
        milliseconds = int(min(seconds * 1000, _LONGEST_SILENCE))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def _answer(refusal: RegistryError) -> bytes:
    """A refusal without a request."""
    body = json.dumps(refusal.body()).encode()
    status = refusal.problem.status
    headers = {"Content-Type": "application/json", "Content-Length": len(body), "Connection": "close"}
    lines = [f"{name}: {value}" for name, value in (headers | refusal.headers).items()]
    return "\r\n".join([f"HTTP/1.1 {status.value} {status.phrase}", *lines, "", ""]).encode() + body
