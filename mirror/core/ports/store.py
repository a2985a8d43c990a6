"""The host's containerd: content, image records, leases and snapshots."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from mirror.oci.manifest import Descriptor
from mirror.oci.names import Digest


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What containerd says of itself: its version, and the directories of its content and of our snapshotter.

    `policy` is whether its namespaces share what they have of content. What it does not tell is None.
    """

    version: str
    content: Path | None
    snapshots: Path | None
    policy: str | None = None


class Introspection(Protocol):
    """What can be asked of containerd itself. Raises StoreUnavailableError: it is away, or one we cannot work with."""

    async def ask(self) -> StoreFacts:
        """Ask whether it is there and what it is, and check that it has what we need. Costs it next to nothing."""

    async def prepare(self) -> None:
        """Make the namespace if need be."""


class Ingest(Protocol):
    """One open write into the content store; the store's lock on its ref is ours until `close`.

    Every method raises StoreUnavailableError when containerd goes away; the bytes acknowledged so far stay in the
    store under the ref and a later `Content.ingest` with the same ref goes on from them.
    """

    @property
    def offset(self) -> int:
        """Bytes handed to `write` so far, those of earlier openings included."""

    async def write(self, data: bytes | bytearray) -> None:
        """Append what nobody will change; waits while too much is under way, which is the back-pressure of a push."""

    async def flush(self) -> None:
        """Wait until the store has answered for every byte."""

    async def commit(self, expected: Digest) -> None:
        """Make the bytes content, held by the lease the ingest was opened under; closes the ingest.

        Content that the store already has is no error. Raises DigestMismatchError, which leaves the ingest to abort.
        """

    async def close(self) -> None:
        """Release the ref, keeping the bytes; safe to call twice."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Content as the store lists it: its digest, its size in bytes and when it came (Unix time)."""

    digest: Digest
    size: int
    created: float


class Content(Protocol):
    """The content store. Every method raises StoreUnavailableError when containerd is away."""

    async def size(self, digest: Digest) -> int | None:
        """The size in bytes, None when the store does not hold it."""

    def list(self) -> AsyncIterator[Blob]:
        """All content of the namespace, whoever brought it."""

    async def delete(self, digest: Digest) -> None:
        """Remove content, whatever refers to it; content that does not exist is no error."""

    def read(
        self, digest: Digest, offset: int = 0, length: int = 0, *, size: int | None = None
    ) -> AsyncIterator[bytes]:
        """Stream `length` bytes of a blob from `offset`, 0 for all that follow; raises ContentMissingError.

        `size` is what `size()` has just said: whoever passes it on saves asking for it again.
        """

    async def file(self, digest: Digest, size: int) -> BinaryIO | None:
        """The open file of a blob, whose `size` the store has just said; None where there is no such file to be had.

        Its caller closes it. Until then it can be read, even when the blob is collected.
        """

    async def ingest(self, ref: str, lease: str) -> Ingest:
        """Open, or go on with, the ingest `ref` under `lease`."""

    async def ingested(self, ref: str) -> int | None:
        """How many bytes the ingest `ref` holds, None when there is none. Does not open it."""

    async def ingests(self, prefix: str) -> Sequence[str]:
        """The refs of the ingests that begin with `prefix`."""

    async def abort(self, ref: str) -> None:
        """Drop an ingest; one that does not exist is no error."""

    async def put(self, data: bytes, digest: Digest, lease: str, edges: Mapping[str, Digest]) -> None:
        """Store a manifest with gc references to its children (`edges`: place → digest), held by `lease`.

        A manifest that is already there gets the references and the lease too. Raises DigestMismatchError.
        """

    async def references(self, digest: Digest) -> set[Digest]:
        """The content that this content holds by its gc references; nothing when the store does not hold it."""


class Replacement(Protocol):
    """Putting other bytes in the place of content whose file is damaged."""

    async def replace(self, digest: Digest, data: AsyncIterator[bytes], lease: str) -> None:
        """Make `data` the content of this digest; its labels stay, and what it refers to is held by `lease`.

        Nothing changes before all of `data` is there and has the digest. Raises DigestMismatchError,
        StoreUnavailableError.
        """


@dataclass(frozen=True, slots=True)
class Image:
    """A containerd image record: a name, what it points to and when it was made or moved (Unix time)."""

    name: str
    target: Descriptor
    updated: float


class Images(Protocol):
    """containerd's image records, which are our tags. Raises StoreUnavailableError when containerd is away."""

    async def get(self, name: str) -> Image | None:
        """The record of this name, None when there is none."""

    async def list(self, prefix: str) -> Sequence[Image]:
        """The records whose names begin with `prefix`; of very many, one that others move meanwhile may be missing."""

    async def point(self, name: str, target: Descriptor) -> None:
        """Create the record or move it to `target`; labels that others put on it stay."""

    async def delete(self, name: str) -> None:
        """Remove a record; one that does not exist is no error. What nothing else refers to will be collected."""


class Leases(Protocol):
    """containerd's leases: what they name is never collected. Raises StoreUnavailableError when containerd is away."""

    async def create(self, lease: str, *, seconds: float | None = None) -> None:
        """Make a lease; with `seconds` it ends by itself. One that already exists is no error."""

    async def delete(self, lease: str) -> None:
        """End a lease; one that does not exist is no error."""

    async def hold(self, lease: str, digest: Digest) -> None:
        """Add content to a lease; content need not exist yet."""

    async def list(self, prefix: str) -> list[str]:
        """The IDs of the leases that begin with `prefix`."""

    async def held(self, lease: str) -> set[Digest]:
        """The content that a lease names; nothing when there is no such lease."""

    async def collect(self) -> None:
        """Wait until what nothing refers to any longer has been collected."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """One step of an unpack: `layer` on top of the snapshot `parent` (a chain ID, empty for the first layer).

    `diff_id` is the digest that the uncompressed layer must have, `chain_id` what the result is called.
    """

    layer: Descriptor
    diff_id: str
    chain_id: str
    parent: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A layer of a filesystem on top of `parent` (a key, empty for the first one).

    The key of a committed one is its chain ID, if it was unpacked from an image; others are still written to.
    """

    key: str
    parent: str
    is_committed: bool


class Snapshots(Protocol):
    """Unpacked layers in the configured snapshotter. Raises StoreUnavailableError when containerd is away."""

    async def exists(self, chain_id: str) -> bool:
        """Whether there is a snapshot of that name, whoever made it."""

    async def hold(self, lease: str, step: Extraction) -> bool:
        """Add the snapshot `step.chain_id` to a lease; say whether it exists, and is known to be of this layer.

        A chain ID is what a config says, and that may be of somebody else's layers.
        """

    async def extract(self, step: Extraction, lease: str) -> None:
        """Unpack one layer and commit it as the snapshot `step.chain_id`, held by `lease`.

        Where that exists, only what the layer unpacks to is compared. Leaves no half snapshot behind. Raises
        BadLayerError when the layer is not what its config says, ContentMissingError.
        """

    async def know(self, layer: Digest, diff_id: str) -> None:
        """Take it from whoever made a layer what it unpacks to, as if it had been unpacked."""

    async def attach(self, config: Digest, chain_id: str) -> None:
        """Let the image config keep the snapshot `chain_id` alive (a gc reference); raises ContentMissingError."""

    async def list(self) -> Sequence[Snapshot]:
        """All snapshots of the namespace in this snapshotter, whoever made them."""

    async def abandoned(self) -> Sequence[str]:
        """The keys of the half snapshots of ours that nobody works on any more: a crash left them."""

    async def remove(self, key: str) -> None:
        """Remove a snapshot; one that does not exist is no error."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container, running or not: the name of the image it was made from, and the snapshot it writes to."""

    image: str
    snapshot: str


class Containers(Protocol):
    """containerd's containers, which keep what they were made from in use."""

    async def list(self) -> Sequence[Container]:
        """All containers of the namespace that are on our snapshotter. Raises StoreUnavailableError."""


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to an image record: its topic, such as `/images/delete`, and its name."""

    topic: str
    name: str


class Events(Protocol):
    """What happens in containerd, whoever does it."""

    def follow(self) -> AsyncIterator[Change]:
        """Changes of image records from now on, for as long as containerd is there. Raises StoreUnavailableError."""
