"""What is told of spans; and what others are told of the trace that they are in: containerd, and upstreams."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from aiohttp import web
from google.protobuf.empty_pb2 import Empty
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from yarl import URL

from mirror.containerd.channel import Channel
from mirror.containerd.leases import LeaseManager
from mirror.containerd.timing import Timing
from mirror.core.ports import NOTHING
from mirror.core.trace import Trace
from mirror.pb.leases_pb2 import DeleteRequest
from mirror.runtime.clock import SystemClock
from mirror.tracing.spans import Spans
from mirror.upstream.client import RegistryClient
from mirror.upstream.timing import timing
from tests.contract.scripted import BLOB, REPOSITORY, Scripted, serving
from tests.contract.upstreams import transport_to

GIVEN = Trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "vendor=value")
"""A builder's span."""


class Recorder:
    """A tracer, and what became of its spans."""

    def __init__(self) -> None:
        self._ended = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._ended))
        self.tracer = Spans(provider)

    def ended(self) -> dict[str, str]:
        """The spans that have ended, each with its traceparent."""
        contexts = {span.name: span.context for span in self._ended.get_finished_spans()}
        return {name: f"00-{c.trace_id:032x}-{c.span_id:016x}-{c.trace_flags:02x}" for name, c in contexts.items() if c}

    def failures(self) -> dict[str, str | None]:
        """The spans that have ended, each with why it failed."""
        return {span.name: span.status.description for span in self._ended.get_finished_spans()}


@pytest.fixture
def recorder() -> Recorder:
    """Nothing yet."""
    return Recorder()


@pytest_asyncio.fixture
async def calls(directory: Path) -> AsyncIterator[list[dict[str, str | bytes]]]:
    """The metadata of each call of one method: Debian's containerd is built without its own tracing, and tells none."""
    seen: list[dict[str, str | bytes]] = []

    async def delete(_: DeleteRequest, context: "grpc.aio.ServicerContext[DeleteRequest, Empty]") -> Empty:
        seen.append(dict(context.invocation_metadata() or ()))
        return Empty()

    method = grpc.unary_unary_rpc_method_handler(delete, DeleteRequest.FromString, Empty.SerializeToString)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("containerd.services.leases.v1.Leases", {"Delete": method})]
    )
    server.add_insecure_port(f"unix:{directory}/c.sock")
    await server.start()
    yield seen
    await server.stop(None)


async def test_containerd_is_told(directory: Path, calls: list[dict[str, str | bytes]], recorder: Recorder) -> None:
    """What it does for a call is a part of that call; outside of a trace there is nothing to say."""
    timing = Timing(lambda *_: None, SystemClock(), recorder.tracer)
    channel = Channel(directory / "c.sock", "default", interceptors=[timing], tracer=recorder.tracer)
    manager = LeaseManager(channel, SystemClock())
    with recorder.tracer.joined("push", GIVEN):
        await manager.delete("one")
    await manager.delete("two")
    await channel.close()
    within, outside = calls
    assert (within["traceparent"], within["tracestate"]) == (recorder.ended()["Leases/Delete"], GIVEN.state)
    assert within["containerd-namespace"] == outside["containerd-namespace"] == "default"
    assert "traceparent" not in outside
    assert len(recorder.ended()) == 2


async def test_the_upstream_is_told_and_nobody_else(recorder: Recorder) -> None:
    """What it redirects to belongs to others, where a header too many may break what was signed."""
    async with serving() as upstream, serving() as store:

        async def redirect(_: web.Request) -> web.StreamResponse:
            return web.Response(status=307, headers={"Location": str(store.url / "blob")})

        async def has(_: web.Request) -> web.StreamResponse:
            return web.Response(headers={"Content-Length": str(BLOB.size)})

        upstream.answer, store.answer = redirect, has
        with recorder.tracer.joined("push", GIVEN):
            assert await _asks(upstream, recorder)
        assert await _asks(upstream, recorder)
    first, second = upstream.headers
    assert (first["traceparent"], first["tracestate"]) == (recorder.ended()["upstream HEAD"], GIVEN.state)
    assert not [headers for headers in (second, *store.headers) if "traceparent" in headers or "tracestate" in headers]
    assert len(store.headers) == 2


async def _asks(upstream: Scripted, recorder: Recorder) -> bool:
    traces = [timing(lambda *_: None, SystemClock(), recorder.tracer, URL(upstream.url))]
    async with transport_to(upstream.url, traces=traces) as transport:
        return await RegistryClient(transport).has_blob(REPOSITORY, BLOB)


def test_a_failure(recorder: Recorder) -> None:
    """It says why, as the log would: without secrets."""
    with pytest.raises(ValueError, match="secret"), recorder.tracer.joined("push", None):
        raise ValueError("no answer from https://user:secret@registry.example.com")
    assert recorder.failures() == {"push": "no answer from https://***@registry.example.com"}


def test_what_is_not_sampled(recorder: Recorder) -> None:
    """It is not told, and others are told that it is not; a part of nothing is nothing."""
    unsampled = Trace(GIVEN.parent.removesuffix("01") + "00")
    with recorder.tracer.joined("push", unsampled), recorder.tracer.span("part"):
        going_on = recorder.tracer.current()
    with recorder.tracer.span("part") as nothing:
        assert nothing is NOTHING
        assert recorder.tracer.current() is None
    assert going_on is not None
    assert going_on.parent.startswith(GIVEN.parent[:36])
    assert going_on.parent.endswith("-00")
    assert recorder.ended() == {}


@pytest.mark.parametrize("parent", ["", "00-nonsense-01", f"{GIVEN.parent}-more", GIVEN.parent.replace("4", "0")[:10]])
def test_what_is_no_traceparent(recorder: Recorder, parent: str) -> None:
    """A trace of its own begins there."""
    with recorder.tracer.joined("push", Trace(parent)):
        begun = recorder.tracer.current()
    assert begun is not None
    assert begun.parent[3:35] not in {GIVEN.parent[3:35], 32 * "0"}
