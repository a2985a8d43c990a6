"""The two ways of bytes into the content store, and which of them an upload takes."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import structlog

from mirror.containerd.channel import Channel, store_errors
from mirror.containerd.direct import DirectImporter, NoWayError
from mirror.containerd.leases import LeaseManager
from mirror.containerd.spool import Spool
from mirror.containerd.stream import StreamImporter
from mirror.containerd.threads import Threads
from mirror.core.errors import StoreUnavailableError
from mirror.core.ports import Clock, Ingest, StoreFacts

Way = Literal["auto", "stream", "direct"]
"""What can be set: `auto` is `direct` where that is possible, and `stream` elsewhere."""

_log = structlog.get_logger(__name__)
_OURS = "registry-mirror/"
_SHARED = "shared"
_CHOSEN_WITHIN = 30.0


class Importer(Protocol):
    """A way of bytes into the content store. Every method raises StoreUnavailableError."""

    async def open(self, ref: str, lease: str) -> Ingest:
        """Open the upload `ref` under `lease`, or go on with it; while another writer has it, wait some seconds."""

    async def offset(self, ref: str) -> int | None:
        """How many bytes an upload has, None when there is none. Does not open it."""

    async def abort(self, ref: str) -> None:
        """Drop an upload; one that does not exist is no error."""

    async def refs(self, prefix: str) -> Sequence[str]:
        """The refs of the unfinished uploads that begin with `prefix`."""


def open_store(facts: StoreFacts) -> Path:
    """Where a store is that takes files as they are, should they get there. Raises NoWayError: it does not."""
    if facts.content is None:
        raise NoWayError("containerd does not tell where it keeps content")
    if facts.policy != _SHARED:
        raise NoWayError(f"content is not shared between namespaces, the policy is {facts.policy!r}")
    return facts.content


class Importers:
    """Implements `Importer`: a new upload takes the way that was chosen, and goes on there whatever is chosen later.

    It is chosen (`choose`) when containerd has said what it is; until it first has, uploads wait.
    """

    def __init__(self, channel: Channel, clock: Clock, leases: LeaseManager, way: Way) -> None:
        self._channel = channel
        self._clock = clock
        self._leases = leases
        self._way = way
        self._threads = Threads()
        self._stream = StreamImporter(channel, clock)
        self._direct: DirectImporter | None = None
        self._streamed: frozenset[str] | None = None
        self._chosen = asyncio.Event()
        self.choice: tuple[str, str] | None = None
        """The way of new uploads (`none`: they are refused), and why; None until it is chosen."""
        self.reason: str | None = None
        """Why no upload is taken; None when they are."""

    async def choose(self, facts: StoreFacts) -> None:
        """Choose the way of new uploads: what is set, as far as this containerd and its filesystem allow it.

        Raises:
            StoreUnavailableError: containerd went away meanwhile.
        """
        self._direct, why = await self._tried(facts)
        is_refused = self._way == "direct" and self._direct is None
        self.reason = f"the direct import is set, and not possible: {why}" if is_refused else None
        self._streamed = None
        self._chosen.set()
        self._say("it is set" if self._way == "stream" else why)

    async def _tried(self, facts: StoreFacts) -> tuple[DirectImporter | None, str]:
        """The direct way, if there is one, and why or why not."""
        try:
            return await self._proven(facts), f"files can be linked into {facts.content}"
        except NoWayError as error:
            return None, str(error)

    async def _proven(self, facts: StoreFacts) -> DirectImporter:
        content = open_store(facts)
        direct = self._direct
        if direct is None or direct.content != content:
            spool = Spool.beside(content, self._channel.namespace, self._threads)
            direct = DirectImporter(self._channel, self._clock, self._leases, content, spool)
        await direct.prove(is_wanted=self._way != "stream")
        return direct

    def _say(self, why: str) -> None:
        way = "none" if self.reason else "direct" if self._takes_direct() else "stream"
        if (choice := (way, why)) != self.choice:
            self.choice = choice
            _log.info("import.chosen", way=way, reason=why)

    def _takes_direct(self) -> bool:
        return self._direct is not None and self._way != "stream"

    async def open(self, ref: str, lease: str) -> Ingest:
        """See `Importer.open`."""
        importer = await self._importer(ref)
        if self.reason:
            raise StoreUnavailableError(self.reason)
        return await importer.open(ref, lease)

    async def offset(self, ref: str) -> int | None:
        """See `Importer.offset`."""
        return await (await self._importer(ref)).offset(ref)

    async def abort(self, ref: str) -> None:
        """See `Importer.abort`."""
        await (await self._importer(ref)).abort(ref)

    async def refs(self, prefix: str) -> Sequence[str]:
        """See `Importer.refs`; those of both ways."""
        await self._choice()
        spooled = await self._direct.refs(prefix) if self._direct else []
        return [*spooled, *await self._stream.refs(prefix)]

    async def _importer(self, ref: str) -> Importer:
        """The way on which an upload was begun, else that of new ones."""
        await self._choice()
        if self._direct is None:
            return self._stream
        is_direct = self._direct.holds(ref) or (self._takes_direct() and ref not in await self._begun())
        return self._direct if is_direct else self._stream

    async def _begun(self) -> frozenset[str]:
        """The uploads that were on the stream before others took the direct way; asked for once."""
        if self._streamed is None:
            self._streamed = frozenset(await self._stream.refs(_OURS))
        return self._streamed

    async def _choice(self) -> None:
        """Wait until containerd has said what it is, but no longer than until it is known to be away."""
        if self._chosen.is_set():
            return
        with store_errors():
            async with self._channel.patience(_CHOSEN_WITHIN):
                await self._chosen.wait()
