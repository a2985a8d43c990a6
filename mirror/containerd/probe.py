"""Asking containerd about itself: whether it is there, what it is, and whether it is one that we can work with."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import grpc.aio
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode

from mirror.containerd.channel import Channel, store_errors
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
_METADATA = "io.containerd.metadata.v1"
_SNAPSHOTTERS = "io.containerd.snapshotter.v1"
_OLDEST = (1, 6)
_VERSION = re.compile(r"v?(\d+)\.(\d+)")


class Probe:
    """Implements `mirror.core.ports.Introspection`, also while the channel is suspended.

    `deadline` is how many seconds each answer may take. Questions do not touch a disk, so even a containerd that
    is very busy answers them at once.
    """

    def __init__(self, channel: Channel, snapshotter: str, *, deadline: float = 5.0) -> None:
        self._channel = channel
        self._snapshotter = snapshotter
        self._deadline = deadline

    async def ask(self) -> StoreFacts:
        """See `Introspection.ask`."""
        version = await self.version()
        check_version(version)
        plugins = await self.plugins()
        check_snapshotter(self._snapshotter, plugins)
        return facts_of(version, self._snapshotter, plugins)

    async def version(self) -> str:
        """What it calls its version. Raises StoreUnavailableError."""
        return (await self._send(VersionStub(self._channel.grpc).Version, Empty())).version

    async def plugins(self) -> Sequence[Plugin]:
        """The plugins that we depend on, in working order or not. Raises StoreUnavailableError."""
        request = PluginsRequest(filters=[f"type=={kind}" for kind in (_CONTENT, _METADATA, _SNAPSHOTTERS)])
        return (await self._send(IntrospectionStub(self._channel.grpc).Plugins, request)).plugins

    async def prepare(self) -> None:
        """See `Introspection.prepare`."""
        request = CreateNamespaceRequest(namespace=Namespace(name=self._channel.namespace))
        with suppress(grpc.aio.AioRpcError):
            await self._send(NamespacesStub(self._channel.grpc).Create, request, StatusCode.ALREADY_EXISTS)

    async def _send(
        self, method: "grpc.aio.UnaryUnaryMultiCallable[_Request, _Answer]", request: _Request, *answers: StatusCode
    ) -> _Answer:
        with store_errors(*answers):
            return await method(request, metadata=self._channel.metadata(), timeout=self._deadline)


def check_version(version: str) -> None:
    """Refuse a release that is too old; builds that are no release are taken. Raises StoreUnavailableError."""
    number = _VERSION.match(version)
    if number and (int(number[1]), int(number[2])) < _OLDEST:
        raise StoreUnavailableError(f"containerd {version} is too old; {'.'.join(map(str, _OLDEST))} is the oldest")


def check_snapshotter(wanted: str, plugins: Iterable[Plugin]) -> None:
    """Refuse a snapshotter that is not there or failed; the text has those that work. Raises StoreUnavailableError."""
    known = _snapshotters(plugins)
    working = sorted(name for name, plugin in known.items() if not plugin.HasField("init_err"))
    if wanted in working:
        return
    reason = f"failed to start ({known[wanted].init_err.message})" if wanted in known else "does not exist"
    raise StoreUnavailableError(
        f"snapshotter {wanted!r} {reason}; containerd has these in working order: {', '.join(working) or 'none'}"
    )


def facts_of(version: str, snapshotter: str, plugins: Sequence[Plugin]) -> StoreFacts:
    """What it says of itself, by its plugins."""
    content, metadata = (_first(plugins, kind) for kind in (_CONTENT, _METADATA))
    snapshots = _root(_snapshotters(plugins).get(snapshotter, Plugin()))
    return StoreFacts(version, _root(content), snapshots, metadata.exports.get("policy"))


def _snapshotters(plugins: Iterable[Plugin]) -> Mapping[str, Plugin]:
    return {plugin.id: plugin for plugin in plugins if plugin.type == _SNAPSHOTTERS}


def _first(plugins: Iterable[Plugin], kind: str) -> Plugin:
    """The one plugin of a kind that there is one of."""
    return next((plugin for plugin in plugins if plugin.type == kind), Plugin())


def _root(plugin: Plugin) -> Path | None:
    root = plugin.exports.get("root")
    return Path(root) if root else None
