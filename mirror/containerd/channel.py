"""The connection: one unix socket, one namespace, one place where gRPC errors get their meaning."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import grpc
import grpc.aio
from grpc import StatusCode

from mirror.core.errors import StoreUnavailableError
from mirror.core.ports import Tracer, Untraced

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")

NO_SPACE = "no space left on device"
"""In the words of the operating system: containerd has no code of its own for it."""

_MAX_MESSAGE = 16 * 1024 * 1024
_OPTIONS = (
    ("grpc.max_send_message_length", _MAX_MESSAGE),
    ("grpc.max_receive_message_length", _MAX_MESSAGE),
    # A restarted containerd is found again within about a second; the default would wait up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Channels of one process would otherwise share one connection, and with it one back-off.
    ("grpc.use_local_subchannel_pool", 1),
)


def begins_with(field: str, prefix: str) -> str:
    """The filter for what has a `field` that begins with `prefix`; containerd reads the value as a string of Go."""
    return f"{field}~={json.dumps('^' + re.escape(prefix))}"


@contextmanager
def store_errors(*answers: StatusCode) -> Iterator[None]:
    """Turn every gRPC failure into StoreUnavailableError, except for the codes that the caller takes as answers.

    Those are raised on as `grpc.aio.AioRpcError`. A time-out of the body counts as containerd being away.
    """
    try:
        yield
    except grpc.aio.AioRpcError as error:
        if error.code() in answers:
            raise
        reason = f"containerd: {error.code().name}: {error.details()}"
        raise StoreUnavailableError(reason, full=NO_SPACE in reason) from error
    except TimeoutError as error:
        raise StoreUnavailableError("containerd: no answer in time") from error


class Channel:
    """A lasting connection to the containerd at `socket`, speaking for `namespace`.

    It connects by itself, and again after a restart of containerd; calls made in between fail at once. `deadline` is
    what a call may take, in seconds, unless it says otherwise; `interceptors` are around each one that has one answer,
    and `tracer` knows what each is a part of. Make it inside the running event loop.
    """

    def __init__(
        self,
        socket: Path,
        namespace: str,
        *,
        deadline: float = 10.0,
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
        tracer: Tracer | None = None,
    ) -> None:
        self.grpc = grpc.aio.insecure_channel(f"unix:{socket}", options=_OPTIONS, interceptors=interceptors)
        self.namespace = namespace
        self._deadline = deadline
        self._tracer = tracer or Untraced()
        self._suspended: str | None = None
        self._waiting: set[asyncio.Timeout] = set()

    def metadata(self, lease: str = "") -> grpc.aio.Metadata:
        """The headers of a call: the namespace, the lease that shall hold what the call makes, and the trace."""
        headers = grpc.aio.Metadata(("containerd-namespace", self.namespace))
        if trace := self._tracer.current():
            for name, value in trace.headers.items():
                headers.add(name, value)
        if lease:
            headers.add("containerd-lease", lease)
        return headers

    async def call(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[_Request, _Answer]",
        request: _Request,
        *,
        lease: str = "",
        deadline: float | None = None,
    ) -> _Answer:
        """One request, one answer; `deadline` is in seconds.

        Raises:
            StoreUnavailableError: containerd did not do it, whatever the code.
        """
        with store_errors():
            return await self.send(method, request, lease=lease, deadline=deadline)

    async def attempt(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[_Request, _Answer]",
        request: _Request,
        *,
        unless: StatusCode,
        lease: str = "",
    ) -> _Answer | None:
        """As `call`, for a request that has two outcomes: None when containerd answers with the code `unless`."""
        try:
            with store_errors(unless):
                return await self.send(method, request, lease=lease)
        except grpc.aio.AioRpcError:
            return None

    async def send(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[_Request, _Answer]",
        request: _Request,
        *,
        lease: str = "",
        deadline: float | None = None,
    ) -> _Answer:
        """As `call`, for a caller that reads the gRPC error itself (`grpc.aio.AioRpcError`)."""
        self._check()
        return await method(request, metadata=self.metadata(lease), timeout=deadline or self._deadline)

    async def stream(
        self,
        method: "grpc.aio.UnaryStreamMultiCallable[_Request, _Answer]",
        request: _Request,
        *,
        is_endless: bool = False,
    ) -> AsyncIterator[_Answer]:
        """One request, many answers; closing the generator ends the call.

        Each answer may take the deadline of the channel, those of an endless stream as long as they like.

        Raises:
            StoreUnavailableError: as `call`.
        """
        call = method(request, metadata=self.metadata())
        answers = aiter(call)
        try:
            while True:
                with store_errors():
                    async with self.patience(None if is_endless else self._deadline):
                        answer = await anext(answers, None)
                if answer is None:
                    return
                yield answer
        finally:
            call.cancel()

    @asynccontextmanager
    async def patience(self, seconds: float | None) -> AsyncIterator[None]:
        """Wait for containerd at most this long, and no longer than until it is known to be away.

        Raises:
            TimeoutError: it did not answer.
            StoreUnavailableError: it is known to be away.
        """
        self._check()
        async with asyncio.timeout(seconds) as limit:
            self._waiting.add(limit)
            try:
                yield
            finally:
                self._waiting.discard(limit)

    def suspend(self, reason: str) -> None:
        """Containerd does not answer: until `resume`, calls fail at once, and streams that wait for it too."""
        self._suspended = reason
        for limit in self._waiting:
            if not limit.expired():
                limit.reschedule(0)  # in the past
        self._waiting.clear()

    def resume(self) -> None:
        """It answers again."""
        self._suspended = None

    def _check(self) -> None:
        if self._suspended:
            raise StoreUnavailableError(self._suspended)

    async def close(self) -> None:
        """Cancel what is under way and hang up."""
        await self.grpc.close()
