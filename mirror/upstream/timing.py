"""How long an upstream takes to answer: counted, and in the trace that the request is a part of."""

from collections.abc import Callable
from contextlib import ExitStack
from types import SimpleNamespace

import aiohttp
from yarl import URL

from mirror.core.ports import Clock, Tracer

Asked = Callable[[str, str, float], None]
"""Is told of a request: its method, the status of the answer or `none`, and the seconds until that had begun."""

_NO_ANSWER = "none"
_TRACE = ("traceparent", "tracestate")


def timing(asked: Asked, clock: Clock, tracer: Tracer, base: URL) -> aiohttp.TraceConfig:
    """What a session of the HTTP client is to be made with: each of its requests is told, redirects with the first.

    The upstream itself (`base`) is told of the trace. Nobody else is: wherever it sends us, and its token server, are
    others' more often than not, and some of them sign what headers there may be.
    """

    async def begin(
        _: aiohttp.ClientSession, request: SimpleNamespace, question: aiohttp.TraceRequestStartParams
    ) -> None:
        request.began = clock.monotonic()
        request.ended = ExitStack()
        said = {"http.request.method": question.method, "server.address": question.url.host_port_subcomponent or ""}
        request.span = request.ended.enter_context(tracer.span(f"upstream {question.method}", said, "client"))
        trace = tracer.current()
        if trace and question.url.origin() == base.origin():
            question.headers.update(trace.headers)

    async def leave(
        _: aiohttp.ClientSession, __: SimpleNamespace, redirect: aiohttp.TraceRequestRedirectParams
    ) -> None:
        for name in _TRACE:
            redirect.headers.popall(name, None)

    async def end(_: aiohttp.ClientSession, request: SimpleNamespace, answer: aiohttp.TraceRequestEndParams) -> None:
        asked(answer.method, str(answer.response.status), clock.monotonic() - request.began)
        request.span.note({"http.response.status_code": answer.response.status})
        request.ended.close()

    async def fail(
        _: aiohttp.ClientSession, request: SimpleNamespace, failure: aiohttp.TraceRequestExceptionParams
    ) -> None:
        asked(failure.method, _NO_ANSWER, clock.monotonic() - request.began)
        request.span.fail(str(failure.exception) or type(failure.exception).__name__)
        request.ended.close()

    config = aiohttp.TraceConfig()
    config.on_request_start.append(begin)
    config.on_request_redirect.append(leave)
    config.on_request_end.append(end)
    config.on_request_exception.append(fail)
    return config
