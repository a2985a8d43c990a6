"""How long an upstream takes to answer."""

from collections.abc import Callable
from types import SimpleNamespace

import aiohttp

from mirror.core.ports import Clock

Asked = Callable[[str, str, float], None]
"""Is told of a request: its method, the status of the answer or `none`, and the seconds until that had begun."""

_NO_ANSWER = "none"


def timing(asked: Asked, clock: Clock) -> aiohttp.TraceConfig:
    """What a session of the HTTP client is to be made with: each of its requests is told, redirects with the first."""

    async def begin(_: aiohttp.ClientSession, request: SimpleNamespace, __: aiohttp.TraceRequestStartParams) -> None:
        request.began = clock.monotonic()

    async def end(_: aiohttp.ClientSession, request: SimpleNamespace, answer: aiohttp.TraceRequestEndParams) -> None:
        asked(answer.method, str(answer.response.status), clock.monotonic() - request.began)

    async def fail(
        _: aiohttp.ClientSession, request: SimpleNamespace, failure: aiohttp.TraceRequestExceptionParams
    ) -> None:
        asked(failure.method, _NO_ANSWER, clock.monotonic() - request.began)

    config = aiohttp.TraceConfig()
    config.on_request_start.append(begin)
    config.on_request_end.append(end)
    config.on_request_exception.append(fail)
    return config
