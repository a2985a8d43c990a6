"""How one process reaches the store: the double's answer to `mirror.containerd.channel`."""

import asyncio
from collections.abc import Awaitable, Callable

from mirror.core.errors import StoreUnavailableError
from tests.double.state import Ingest, Store


async def _breathe() -> None:
    """Let other tasks go on, as every call to a real containerd does."""
    await asyncio.sleep(0)


class Connection:
    """A process's way to the store. `moment` is awaited before each call: whatever may come between two is put there.

    A call is one change, and nothing comes between its parts.
    """

    def __init__(self, store: Store, moment: Callable[[], Awaitable[None]] = _breathe) -> None:
        self._store = store
        self._moment = moment
        self._writing: dict[object, Ingest] = {}

    async def reach(self) -> Store:
        """The store, for one call. Raises StoreUnavailableError."""
        await self._moment()
        if self._store.away:
            raise StoreUnavailableError("containerd: UNAVAILABLE: nobody listens")
        return self._store

    def lock(self, ingest: Ingest, stream: object) -> None:
        """Let a stream have a ref to itself, for no longer than the process lives."""
        ingest.writer = stream
        self._writing[stream] = ingest

    def unlock(self, stream: object) -> None:
        """A stream lets go of its ref; safe to call twice."""
        ingest = self._writing.pop(stream, None)
        if ingest and ingest.writer is stream:
            ingest.writer = None

    def close(self) -> None:
        """The process is gone: containerd ends its streams, which lets go of their refs."""
        for stream in list(self._writing):
            self.unlock(stream)
