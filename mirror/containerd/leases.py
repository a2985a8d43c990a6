"""Leases: what keeps content and snapshots from being collected while an upload or a job needs them."""

import secrets
from datetime import UTC, datetime

from grpc import StatusCode

from mirror.containerd.channel import Channel
from mirror.core.ports import Clock
from mirror.oci.names import Digest
from mirror.pb.leases_pb2 import (
    AddResourceRequest,
    CreateRequest,
    DeleteRequest,
    ListRequest,
    ListResourcesRequest,
    Resource,
)
from mirror.pb.leases_pb2_grpc import LeasesStub

_EXPIRES = "containerd.io/gc.expire"
_CONTENT = "content"
_COLLECTED_WITHIN = 120.0


class LeaseManager:
    """Implements `mirror.core.ports.Leases`; the clock says when a lease that is made now will end."""

    def __init__(self, channel: Channel, clock: Clock) -> None:
        self._channel = channel
        self._clock = clock
        self._stub = LeasesStub(channel.grpc)

    async def create(self, lease: str, *, seconds: float | None = None) -> None:
        """See `Leases.create`."""
        labels = {} if seconds is None else {_EXPIRES: self._timestamp(seconds)}
        request = CreateRequest(id=lease, labels=labels)
        await self._channel.attempt(self._stub.Create, request, unless=StatusCode.ALREADY_EXISTS)

    async def delete(self, lease: str) -> None:
        """See `Leases.delete`."""
        await self._channel.attempt(self._stub.Delete, DeleteRequest(id=lease), unless=StatusCode.NOT_FOUND)

    async def hold(self, lease: str, digest: Digest) -> None:
        """See `Leases.hold`; a lease that is gone is a StoreUnavailableError that names it."""
        await self.add(lease, _CONTENT, digest)

    async def list(self, prefix: str) -> list[str]:
        """See `Leases.list`."""
        answer = await self._channel.call(self._stub.List, ListRequest())
        return [lease.id for lease in answer.leases if lease.id.startswith(prefix)]

    async def held(self, lease: str) -> set[Digest]:
        """See `Leases.held`."""
        request = ListResourcesRequest(id=lease)
        answer = await self._channel.attempt(self._stub.ListResources, request, unless=StatusCode.NOT_FOUND)
        resources = answer.resources if answer else ()
        return {Digest(resource.id) for resource in resources if resource.type == _CONTENT}

    async def collect(self) -> None:
        """See `Leases.collect`; containerd has no call for it, but a lease that is deleted may ask for it."""
        lease = f"registry-mirror/collect/{secrets.token_hex(8)}"
        await self.create(lease, seconds=_COLLECTED_WITHIN)
        request = DeleteRequest(id=lease, sync=True)
        await self._channel.call(self._stub.Delete, request, deadline=_COLLECTED_WITHIN)

    async def add(self, lease: str, kind: str, name: str) -> None:
        """Add any resource to a lease; `kind` is containerd's word for it (`content`, `snapshots/<snapshotter>`)."""
        request = AddResourceRequest(id=lease, resource=Resource(type=kind, id=name))
        await self._channel.call(self._stub.AddResource, request)

    def _timestamp(self, seconds: float) -> str:
        """`seconds` from now as containerd reads it: RFC 3339, UTC."""
        return datetime.fromtimestamp(self._clock.now() + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
