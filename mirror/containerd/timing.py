"""How long containerd takes for the calls that have one answer."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from grpc.aio import ClientCallDetails, UnaryUnaryCall, UnaryUnaryClientInterceptor

from mirror.core.ports import Clock

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")


Called = Callable[[str, str, float], None]
"""Is told of a call when it has ended: its method, the status code of gRPC, and the seconds it took."""


class Timing(UnaryUnaryClientInterceptor):
    """Around every call that has one answer; streams last as long as what they carry."""

    def __init__(self, called: Called, clock: Clock) -> None:
        self._called = called
        self._clock = clock

    async def intercept_unary_unary(
        self,
        continuation: "Callable[[ClientCallDetails, _Request], Awaitable[UnaryUnaryCall[_Request, _Answer]]]",
        client_call_details: ClientCallDetails,
        request: _Request,
    ) -> "UnaryUnaryCall[_Request, _Answer]":
        """See `grpc.aio.UnaryUnaryClientInterceptor`."""
        began = self._clock.monotonic()
        call = await continuation(client_call_details, request)
        code = await call.code()
        method = client_call_details.method
        name = method.decode() if isinstance(method, bytes) else method
        self._called(name.rpartition(".")[2], code.name, self._clock.monotonic() - began)
        return call
