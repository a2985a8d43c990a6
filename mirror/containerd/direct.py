"""The short way into the content store: a verified file is linked into it, and only registered over gRPC.

containerd with the policy "shared", its default, takes a blob that lies in its store as it is, when the COMMIT that
asks for it names its digest and its size: no byte goes through it. That is what `expected` does, which the stream never
sends. Here it is sent for bytes that we have hashed ourselves, and only when they are on the disk and in their place.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from grpc import StatusCode

from mirror.containerd.blobfiles import BlobFiles
from mirror.containerd.channel import Channel
from mirror.containerd.commit import SingleCommit
from mirror.containerd.ingest import Patience
from mirror.containerd.leases import LeaseManager
from mirror.containerd.locks import when_free
from mirror.containerd.spool import Spool
from mirror.containerd.spoolfile import SpoolFile
from mirror.containerd.threads import is_full
from mirror.core.errors import StoreUnavailableError
from mirror.core.ports import Clock
from mirror.oci.names import Digest, digest_of
from mirror.pb import content_pb2 as pb
from mirror.pb.content_pb2_grpc import ContentStub

_ROUNDS = 10
_PROOFS = 3  # a collection may come in between here, too
_PROOF = 32

Place = Callable[[], Awaitable[None]]
"""Puts the file of an upload among the blobs, as often as it is called."""


class NoWayError(Exception):
    """The direct way does not lead into this store; the text says why."""


class DirectImporter:
    """Implements `mirror.containerd.importer.Importer` on a spool beside the content store at `content`.

    Uploads are files there, which no lease holds; the blobs that they become are held like any other. The clock paces
    the wait for an upload that somebody else has open.
    """

    def __init__(
        self,
        channel: Channel,
        clock: Clock,
        leases: LeaseManager,
        content: Path,
        spool: Spool,
        patience: Patience | None = None,
    ) -> None:
        self.content = content
        self.blobs = BlobFiles(content)
        self.spool = spool
        self._channel = channel
        self._clock = clock
        self._leases = leases
        self._patience = patience or Patience()
        self._stub = ContentStub(channel.grpc)
        self._commit = SingleCommit(channel)

    async def prove(self, *, is_wanted: bool) -> None:
        """Take some bytes this way; if it is not wanted, only where uploads wait for it.

        A full disk says nothing, as it will not stay so.

        Raises:
            NoWayError: they did not arrive, nor would others.
            StoreUnavailableError: containerd is away.
        """
        data = secrets.token_bytes(_PROOF)
        try:
            await self.spool.threads.run(lambda: self._prepare(is_wanted=is_wanted))
            await self._try(data, digest_of(data))
        except StoreUnavailableError as error:
            if not error.full:
                raise

    def _prepare(self, *, is_wanted: bool) -> None:
        """See that the directories are there; that of the content may come with the first blob."""
        with self._hindrances():
            (self.content.parent if is_wanted else self.spool.directory).stat()
            self.spool.prepare()

    async def _try(self, data: bytes, digest: Digest) -> None:
        for _ in range(_PROOFS):
            await self.spool.threads.run(lambda: self._place(data, digest))
            if await self._register(digest, len(data), ""):
                request = pb.DeleteContentRequest(digest=digest)
                await self._channel.attempt(self._stub.Delete, request, unless=StatusCode.NOT_FOUND)
                return
        await self.spool.threads.run(lambda: self.blobs.remove(digest))
        raise NoWayError(f"containerd does not see what is linked into {self.content}")

    def _place(self, data: bytes, digest: Digest) -> None:
        file = self.spool.directory / "proof"
        with self._hindrances():
            file.unlink(missing_ok=True)  # it may be read-only
            file.write_bytes(data)
            self.blobs.link(file, digest)
            file.unlink()

    @contextmanager
    def _hindrances(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if is_full(error):
                raise
            reason = f"no file of {self.spool.directory} can be linked into {self.content}: {error.strerror}"
            raise NoWayError(reason) from error

    def holds(self, ref: str) -> bool:
        """Whether an upload was begun here and has not ended."""
        return self.spool.holds(ref)

    async def open(self, ref: str, lease: str) -> "DirectIngest":
        """See `Importer.open`; containerd is not asked, so a lease that is gone is noticed by the commit."""
        file = await when_free(self._clock, lambda: self.spool.open(ref))
        return DirectIngest(self, file, ref, lease)

    async def offset(self, ref: str) -> int | None:
        """See `Importer.offset`."""
        return await self.spool.size(ref)

    async def abort(self, ref: str) -> None:
        """See `Importer.abort`."""
        await self.spool.remove(ref)

    async def refs(self, prefix: str) -> Sequence[str]:
        """See `Importer.refs`."""
        return await self.spool.refs(prefix)

    async def adopt(self, digest: Digest, size: int, lease: str, place: Place) -> None:
        """Make a file a blob that `lease` holds. Until it is registered it is nobody's, and may be collected."""
        for _ in range(_ROUNDS):
            await place()
            if await self._register(digest, size, lease):
                return
        raise StoreUnavailableError(f"containerd: {digest} was collected {_ROUNDS} times before it could be registered")

    async def _register(self, digest: Digest, size: int, lease: str) -> bool:
        """False when there is no such file in the store."""
        ref = f"registry-mirror/direct/{secrets.token_hex(8)}"
        # The offset is that of content which is there; in an ingest that only begins it is out of range.
        request = pb.WriteContentRequest(action=pb.COMMIT, ref=ref, total=size, offset=size, expected=digest)
        whole, exists = self._patience.whole, StatusCode.ALREADY_EXISTS
        match await self._commit.send(request, lease, whole, exists, StatusCode.OUT_OF_RANGE):
            case StatusCode.ALREADY_EXISTS:
                return await self._hold(digest, lease)
            case StatusCode.OUT_OF_RANGE:
                abort = pb.AbortRequest(ref=ref)
                await self._channel.attempt(self._stub.Abort, abort, unless=StatusCode.NOT_FOUND)
                return False
        return True

    async def _hold(self, digest: Digest, lease: str) -> bool:
        """Lease what others brought, as containerd does unless they did so in this very moment. False: it is gone."""
        if lease:
            await self._leases.hold(lease, digest)
        request = pb.InfoRequest(digest=digest)
        return await self._channel.attempt(self._stub.Info, request, unless=StatusCode.NOT_FOUND) is not None


class DirectIngest:
    """Implements `mirror.core.ports.Ingest` on a file of the spool."""

    def __init__(self, importer: DirectImporter, file: SpoolFile, ref: str, lease: str) -> None:
        self._importer = importer
        self._file = file
        self._ref = ref
        self._lease = lease

    @property
    def offset(self) -> int:
        """See `Ingest.offset`."""
        return self._file.offset

    async def write(self, data: bytes | bytearray) -> None:
        """See `Ingest.write`."""
        await self._file.write(data)

    async def flush(self) -> None:
        """See `Ingest.flush`."""
        await self._file.flush()

    async def commit(self, expected: Digest) -> None:
        """See `Ingest.commit`; what is all in memory takes one step to its place among the blobs."""
        try:
            if self._file.is_collected:
                await self._adopt(expected, self._move)
                self._importer.spool.forget(self._ref)
            else:
                await self._file.verify(expected)
                await self._adopt(expected, self._link)
                await self._importer.spool.remove(self._ref)
        finally:
            await self.close()

    async def _adopt(self, digest: Digest, place: Callable[[Digest], None]) -> None:
        size = self._file.offset
        await self._importer.adopt(digest, size, self._lease, lambda: self._file.hand_on(lambda: place(digest)))

    def _move(self, digest: Digest) -> None:
        self._importer.blobs.move(self._file.written_at_once(digest), digest)

    def _link(self, digest: Digest) -> None:
        self._importer.blobs.link(self._file.written(), digest)

    async def close(self) -> None:
        """See `Ingest.close`."""
        await self._file.close()
        self._importer.spool.release(self._ref)
