"""The connection: one unix socket, one namespace, one place where gRPC errors get their meaning."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import grpc
import grpc.aio
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode

from mirror.core.errors import StoreUnavailableError
from mirror.core.ports import StoreFacts
from mirror.pb.introspection_pb2 import Plugin, PluginsRequest
from mirror.pb.introspection_pb2_grpc import IntrospectionStub
from mirror.pb.namespaces_pb2 import CreateNamespaceRequest, Namespace
from mirror.pb.namespaces_pb2_grpc import NamespacesStub
from mirror.pb.version_pb2_grpc import VersionStub

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")

_CONTENT = "io.containerd.content.v1"
_SNAPSHOTTERS = "io.containerd.snapshotter.v1"
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


class SnapshotterError(Exception):
    """The configured snapshotter is not there, or containerd could not start it: a matter for the operator."""


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
    what a call may take, in seconds, unless it says otherwise. Make it inside the running event loop.
    """

    def __init__(self, socket: Path, namespace: str, *, deadline: float = 10.0) -> None:
        self.grpc = grpc.aio.insecure_channel(f"unix:{socket}", options=_OPTIONS)
        self.namespace = namespace
        self._deadline = deadline

    def metadata(self, lease: str = "") -> grpc.aio.Metadata:
        """The headers of a call: the namespace, and the lease that shall hold what the call makes."""
        headers = grpc.aio.Metadata(("containerd-namespace", self.namespace))
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
                    async with asyncio.timeout(None if is_endless else self._deadline):
                        answer = await anext(answers, None)
                if answer is None:
                    return
                yield answer
        finally:
            call.cancel()

    async def probe(self, snapshotter: str) -> StoreFacts:
        """Make the namespace if need be, check the snapshotter, and ask containerd about itself.

        Raises:
            StoreUnavailableError: containerd is away.
            SnapshotterError: it is there, but has no such snapshotter in working order.
        """
        version = await self.call(VersionStub(self.grpc).Version, Empty())
        await self._ensure_namespace()
        kinds = [f"type=={kind}" for kind in (_CONTENT, _SNAPSHOTTERS)]
        answer = await self.call(IntrospectionStub(self.grpc).Plugins, PluginsRequest(filters=kinds))
        snapshotters = {plugin.id: plugin for plugin in answer.plugins if plugin.type == _SNAPSHOTTERS}
        _check_snapshotter(snapshotter, snapshotters)
        content = next((plugin for plugin in answer.plugins if plugin.type == _CONTENT), Plugin())
        return StoreFacts(version.version, _root(content), _root(snapshotters[snapshotter]))

    async def _ensure_namespace(self) -> None:
        request = CreateNamespaceRequest(namespace=Namespace(name=self.namespace))
        await self.attempt(NamespacesStub(self.grpc).Create, request, unless=StatusCode.ALREADY_EXISTS)

    async def close(self) -> None:
        """Cancel what is under way and hang up."""
        await self.grpc.close()


def _root(plugin: Plugin) -> Path | None:
    root = plugin.exports.get("root")
    return Path(root) if root else None


def _check_snapshotter(wanted: str, plugins: dict[str, Plugin]) -> None:
    working = sorted(name for name, plugin in plugins.items() if not plugin.HasField("init_err"))
    if wanted in working:
        return
    reason = f"failed to start ({plugins[wanted].init_err.message})" if wanted in plugins else "does not exist"
    raise SnapshotterError(
        f"snapshotter {wanted!r} {reason}; containerd has these in working order: {', '.join(working) or 'none'}"
    )
