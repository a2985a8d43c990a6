"""Reading content back from the disk: whether it still is what its digest says."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from mirror.core.errors import ContentMissingError
from mirror.core.ports import Clock, Content
from mirror.core.reconcile.findings import Damage
from mirror.core.reconcile.survey import Stores, Survey, Surveyor
from mirror.oci.names import Digest

_TELL_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Hashed:
    """How far a deep check has come: blobs and bytes that were read."""

    blobs: int = 0
    bytes: int = 0


class Hasher:
    """Hashes content, beside the event loop."""

    def __init__(self, content: Content) -> None:
        self._content = content

    async def is_damaged(self, digest: Digest) -> bool:
        """Whether the store holds other bytes than it says. Raises StoreUnavailableError."""
        hashed = hashlib.sha256()
        try:
            async for data in self._content.read(digest):
                await asyncio.to_thread(hashed.update, data)
        except ContentMissingError:
            return await self._content.size(digest) is not None  # it has the name, and no file any more
        return f"sha256:{hashed.hexdigest()}" != digest


class DeepCheck:
    """Reads all content that any repository holds, one blob after the other."""

    def __init__(self, *, surveyor: Surveyor, hasher: Hasher, stores: Stores, clock: Clock) -> None:
        self._surveyor = surveyor
        self._hasher = hasher
        self._content = stores.content
        self._grants = stores.grants
        self._clock = clock

    async def damage(self, survey: Survey, tell: Callable[[Hashed], Awaitable[None]]) -> AsyncIterator[Damage]:
        """What is damaged; `tell` is called about once a second."""
        hashed, told = Hashed(), self._clock.monotonic()
        async for digest in self._held(survey):
            if await self._hasher.is_damaged(digest):
                yield Damage(digest, await self._grants.holders(digest))
            hashed = Hashed(hashed.blobs + 1, hashed.bytes + (await self._content.size(digest) or 0))
            if self._clock.monotonic() - told >= _TELL_EVERY:
                await tell(hashed)
                told = self._clock.monotonic()
        await tell(hashed)

    async def _held(self, survey: Survey) -> AsyncIterator[Digest]:
        """All that any repository holds and the store has, each once."""
        seen: set[Digest] = set()
        async for page in self._surveyor.grants(survey):
            held = {grant.digest for grant in page if not grant.is_revoked} & survey.content
            for digest in sorted(held - seen):
                yield digest
            seen |= held
