"""Leases, which are roots of the garbage collection."""

from datetime import UTC, datetime

from mirror.core.ports import Clock
from mirror.oci.names import Digest
from tests.double.connection import Connection
from tests.double.garbage import EXPIRES, collect
from tests.double.state import Lease


class LeasesDouble:
    """Implements `mirror.core.ports.Leases`; the clock says when a lease that is made now will end."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    async def create(self, lease: str, *, seconds: float | None = None) -> None:
        """See `Leases.create`; an expired one exists until it is collected, and stays as it is."""
        labels = {} if seconds is None else {EXPIRES: self._timestamp(seconds)}
        (await self._connection.reach()).leases.setdefault(lease, Lease(labels))

    async def delete(self, lease: str) -> None:
        """See `Leases.delete`."""
        (await self._connection.reach()).leases.pop(lease, None)

    async def hold(self, lease: str, digest: Digest) -> None:
        """See `Leases.hold`."""
        (await self._connection.reach()).hold(lease, "content", digest)

    async def list(self, prefix: str) -> list[str]:
        """See `Leases.list`."""
        return [lease for lease in (await self._connection.reach()).leases if lease.startswith(prefix)]

    async def held(self, lease: str) -> set[Digest]:
        """See `Leases.held`."""
        found = (await self._connection.reach()).leases.get(lease)
        return {Digest(name) for kind, name in found.resources if kind == "content"} if found else set()

    async def collect(self) -> None:
        """See `Leases.collect`."""
        collect(await self._connection.reach())

    def _timestamp(self, seconds: float) -> str:
        return datetime.fromtimestamp(self._clock.now() + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
