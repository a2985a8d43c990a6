"""How long containerd takes for the calls that have one answer: counted, and in the trace that they are a part of."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from grpc.aio import ClientCallDetails, Metadata, UnaryUnaryCall, UnaryUnaryClientInterceptor

from mirror.core.ports import Clock, Tracer, Untraced

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")


Called = Callable[[str, str, float], None]
"""Is told of a call when it has ended: its method, the status code of gRPC, and the seconds it took."""


class Timing(UnaryUnaryClientInterceptor):
    """Around every call that has one answer; streams last as long as what they carry."""

    def __init__(self, called: Called, clock: Clock, tracer: Tracer | None = None) -> None:
        self._called = called
        self._clock = clock
        self._tracer = tracer or Untraced()

    async def intercept_unary_unary(
        self,
        continuation: "Callable[[ClientCallDetails, _Request], Awaitable[UnaryUnaryCall[_Request, _Answer]]]",
        client_call_details: ClientCallDetails,
        request: _Request,
    ) -> "UnaryUnaryCall[_Request, _Answer]":
        """See `grpc.aio.UnaryUnaryClientInterceptor`."""
        began = self._clock.monotonic()
        method = client_call_details.method
        name = method.decode() if isinstance(method, bytes) else method
        service, _, short = name.strip("/").partition("/")
        said = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": short}
        with self._tracer.span(name.rpartition(".")[2], said, "client") as span:
            call = await continuation(self._traced(client_call_details), request)
            code = await call.code()
            span.note({"rpc.grpc.status_code": code.value[0]})
        self._called(name.rpartition(".")[2], code.name, self._clock.monotonic() - began)
        return call

    def _traced(self, details: ClientCallDetails) -> ClientCallDetails:
        """Have what containerd does for a call be a part of the call, and not of what is around it."""
        trace = self._tracer.current()
        if trace is None:
            return details
        metadata = Metadata(*(details.metadata or ()))
        for name, value in trace.headers.items():
            metadata[name] = value
        return ClientCallDetails(details.method, details.timeout, metadata, details.credentials, details.wait_for_ready)
