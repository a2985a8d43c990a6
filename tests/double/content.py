"""Content, and the ingests that become content."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from io import FileIO

from mirror.core.errors import ContentMissingError, DigestMismatchError, StoreUnavailableError
from mirror.core.ports import Blob, Clock
from mirror.oci.names import Digest, digest_of
from tests.double.connection import Connection
from tests.double.garbage import CONTENT_REFERENCE
from tests.double.state import INGEST_LIFE, Ingest, Store

CHUNK = 1024 * 1024
_LOCK_PATIENCE = 5.0
_LOCK_POLL = 0.2


class IngestDouble:
    """Implements `mirror.core.ports.Ingest`; the bytes written so far are in the store, not in here."""

    def __init__(self, connection: Connection, ref: str, lease: str, ingest: Ingest) -> None:
        self._connection = connection
        self._ref = ref
        self._lease = lease
        self._ingest = ingest
        connection.lock(ingest, self)

    @property
    def offset(self) -> int:
        """See `Ingest.offset`."""
        return len(self._ingest.data)

    async def write(self, data: bytes | bytearray) -> None:
        """See `Ingest.write`."""
        await self._writable()
        self._ingest.data += data

    async def flush(self) -> None:
        """See `Ingest.flush`; every write has been answered already."""
        await self._writable()

    async def commit(self, expected: Digest) -> None:
        """See `Ingest.commit`; what the store has already is leased all the same."""
        try:
            store = await self._writable()
            if store.ingests.get(self._ref) is not self._ingest:
                raise StoreUnavailableError(f"containerd: UNKNOWN: the ingest of {self._ref} is gone")
            data = bytes(self._ingest.data)
            if (found := digest_of(data)) != expected:
                raise DigestMismatchError(f"the bytes are {found}, not {expected}")
            store.commit(data, expected, self._lease, {})
            store.end(self._ref, self._lease)
        finally:
            await self.close()

    async def close(self) -> None:
        """See `Ingest.close`."""
        self._connection.unlock(self)

    async def _writable(self) -> Store:
        store = await self._connection.reach()
        if self._ingest.writer is not self:
            raise StoreUnavailableError("the write stream is closed")
        return store


class ContentDouble:
    """Implements `mirror.core.ports.Content`; the clock paces the wait for a ref that is still locked."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    async def size(self, digest: Digest) -> int | None:
        """See `Content.size`."""
        blob = (await self._connection.reach()).blobs.get(digest)
        return None if blob is None else len(blob.data)

    async def list(self) -> AsyncIterator[Blob]:
        """See `Content.list`."""
        for digest, blob in list((await self._connection.reach()).blobs.items()):
            yield Blob(digest, len(blob.data), blob.created)

    async def delete(self, digest: Digest) -> None:
        """See `Content.delete`; its labels go with it, while leases go on naming it."""
        (await self._connection.reach()).blobs.pop(digest, None)

    async def read(
        self,
        digest: Digest,
        offset: int = 0,
        length: int = 0,
        *,
        size: int | None = None,  # noqa: ARG002 - knowing it costs nothing here
    ) -> AsyncIterator[bytes]:
        """See `Content.read`; who has begun reads on, even when the content is deleted."""
        blob = (await self._connection.reach()).blobs.get(digest)
        if blob is None:
            raise ContentMissingError(digest)
        end = offset + length if length else len(blob.data)
        for start in range(offset, end, CHUNK):
            yield blob.data[start : min(start + CHUNK, end)]
            await self._connection.reach()

    async def file(self, digest: Digest, size: int) -> FileIO | None:
        """See `Content.file`; it has no name."""
        blob = (await self._connection.reach()).blobs.get(digest)
        if blob is None or len(blob.data) != size:
            return None
        file = FileIO(os.memfd_create(digest), "r+")
        file.write(blob.data)
        file.seek(0)
        return file

    async def ingest(self, ref: str, lease: str) -> IngestDouble:
        """See `Content.ingest`; a ref that another stream is writing to is waited for, for some seconds."""
        store = await self._when_free(ref)
        store.hold(lease, "ingests", ref)
        expires = None if lease else store.clock.now() + INGEST_LIFE
        return IngestDouble(self._connection, ref, lease, store.ingests.setdefault(ref, Ingest(expires)))

    async def ingested(self, ref: str) -> int | None:
        """See `Content.ingested`."""
        ingest = (await self._connection.reach()).ingests.get(ref)
        return None if ingest is None else len(ingest.data)

    async def ingests(self, prefix: str) -> Sequence[str]:
        """See `Content.ingests`."""
        return [ref for ref in (await self._connection.reach()).ingests if ref.startswith(prefix)]

    async def abort(self, ref: str) -> None:
        """See `Content.abort`; a stream that writes to it is not disturbed before its commit."""
        (await self._connection.reach()).ingests.pop(ref, None)

    async def _when_free(self, ref: str) -> Store:
        """The store, as soon as nobody writes to the ref."""
        give_up = self._clock.monotonic() + _LOCK_PATIENCE
        while True:
            store = await self._connection.reach()
            ingest = store.ingests.get(ref)
            if ingest is None or ingest.writer is None:
                return store
            if self._clock.monotonic() >= give_up:
                raise StoreUnavailableError(f"containerd: UNAVAILABLE: ref {ref} locked")
            await self._clock.sleep(_LOCK_POLL)

    async def put(self, data: bytes, digest: Digest, lease: str, edges: Mapping[str, Digest]) -> None:
        """See `Content.put`."""
        if digest_of(data) != digest:
            raise DigestMismatchError(f"the manifest is not {digest}")
        labels = {f"{CONTENT_REFERENCE}.{place}": child for place, child in edges.items()}
        (await self._connection.reach()).commit(data, digest, lease, labels)

    async def references(self, digest: Digest) -> set[Digest]:
        """See `Content.references`."""
        blob = (await self._connection.reach()).blobs.get(digest)
        labels = {} if blob is None else blob.labels
        return {Digest(child) for label, child in labels.items() if label.startswith(f"{CONTENT_REFERENCE}.")}
