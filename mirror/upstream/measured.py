"""What goes over the connections to an upstream, told to whoever measures it."""

from types import SimpleNamespace
from typing import Protocol

import aiohttp

from mirror.core.ports import Clock

_NO_ANSWER = "none"


class Traffic(Protocol):
    """Whoever is told of requests to upstreams, by the name of the registry."""

    def upstream_answered(self, registry: str, method: str, status: str, seconds: float) -> None:
        """The head of an answer was here after so many seconds; without one the status is `none`."""

    def upstream_sent(self, registry: str, size: int) -> None:
        """So many bytes of a body were sent."""


def measured(registry: str, traffic: Traffic, clock: Clock) -> aiohttp.TraceConfig:
    """What an HTTP client's session is to be made with."""

    async def start(_: aiohttp.ClientSession, request: SimpleNamespace, __: aiohttp.TraceRequestStartParams) -> None:
        request.began = clock.monotonic()

    async def end(_: aiohttp.ClientSession, request: SimpleNamespace, answer: aiohttp.TraceRequestEndParams) -> None:
        seconds = clock.monotonic() - request.began
        traffic.upstream_answered(registry, answer.method, str(answer.response.status), seconds)

    async def fail(
        _: aiohttp.ClientSession, request: SimpleNamespace, failure: aiohttp.TraceRequestExceptionParams
    ) -> None:
        traffic.upstream_answered(registry, failure.method, _NO_ANSWER, clock.monotonic() - request.began)

    async def sent(_: aiohttp.ClientSession, __: SimpleNamespace, piece: aiohttp.TraceRequestChunkSentParams) -> None:
        traffic.upstream_sent(registry, len(piece.chunk))

    config = aiohttp.TraceConfig()
    config.on_request_start.append(start)
    config.on_request_end.append(end)
    config.on_request_exception.append(fail)
    config.on_request_chunk_sent.append(sent)
    return config
