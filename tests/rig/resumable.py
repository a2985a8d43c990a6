"""An upstream that keeps what a broken upload brought, as the spec would have it.

docker-registry signs the offset into each `Location`, so that the one a client has is void after a request that broke:
it answers 404 and forgets the upload. This stands before it, ends broken requests properly and knows the last Location.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from urllib.parse import parse_qs, urlsplit

from tests.rig.exchange import FRAMING, Exchange, Request
from tests.rig.wire import Answer, Wire, finishing

UPLOAD = r"/blobs/uploads/."


@dataclass
class Resumable:
    """What a proxy before `registry` is to do with all requests of uploads (`UPLOAD`)."""

    registry: Wire
    _latest: dict[str, str] = field(default_factory=dict)
    _locks: defaultdict[str, Lock] = field(default_factory=lambda: defaultdict(Lock))

    def serve(self, exchange: Exchange) -> None:
        """One request of an upload at a time: a client that was cut off may be back before its last bytes are in."""
        with self._locks[exchange.request.path]:
            exchange.reply(self._answer(exchange))

    def _answer(self, exchange: Exchange) -> Answer:
        """A body is appended first, whole or not, and an upload is finished by a request of its own."""
        request = exchange.request
        if not request.size and request.method != "PUT":
            return self._ask(request, request.method)
        answer = self._ask(request, "PATCH", _whatever_comes(exchange))
        exchange.take()  # which fails if the body broke off
        return answer if request.method == "PATCH" else self._ask(request, "PUT", digest=_digest(request))

    def _ask(self, request: Request, method: str, body: Iterator[bytes] | None = None, digest: str = "") -> Answer:
        target = self._latest.get(request.path, request.target)
        answer = self.registry.ask(method, finishing(target, digest) if digest else target, body, _headers(request))
        location = urlsplit(answer.headers.get("Location", ""))
        if location.path == request.path:
            self._latest[request.path] = f"{location.path}?{location.query}"
        return answer


def _whatever_comes(exchange: Exchange) -> Iterator[bytes]:
    with suppress(OSError):
        while piece := exchange.piece():
            yield piece


def _digest(request: Request) -> str:
    return parse_qs(urlsplit(request.target).query)["digest"][0]


def _headers(request: Request) -> Mapping[str, str]:
    return {name: value for name, value in request.headers.items() if name.lower() not in FRAMING}
