"""What the use cases need from the outside, as Protocols; the rooms around `core` implement them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from mirror.core.jobs import Job, Kind, NewDelete, NewJob, Outcome, State, Task
from mirror.oci.manifest import Descriptor
from mirror.oci.names import Digest, Reference, Repository


class Clock(Protocol):
    """Time as the rules see it, in seconds."""

    def now(self) -> float:
        """Unix time; may jump."""

    def monotonic(self) -> float:
        """Never jumps, means nothing outside this process."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        """Wait for an event, but no longer than `seconds` (None: without end)."""


# --- containerd ---------------------------------------------------------------------------------------------------


class Ingest(Protocol):
    """One open write into the content store; the store's lock on its ref is ours until `close`.

    Every method raises StoreUnavailableError when containerd goes away; the bytes acknowledged so far stay in the
    store under the ref and a later `Content.ingest` with the same ref goes on from them.
    """

    @property
    def offset(self) -> int:
        """Bytes handed to `write` so far, those of earlier openings included."""

    async def write(self, data: bytes) -> None:
        """Append; waits while too many messages are unanswered, which is the back-pressure of a push."""

    async def flush(self) -> None:
        """Wait until the store has answered for every byte."""

    async def commit(self, expected: Digest) -> None:
        """Make the bytes content, held by the lease the ingest was opened under; closes the ingest.

        Content that the store already has is no error. Raises DigestMismatchError, which leaves the ingest to abort.
        """

    async def close(self) -> None:
        """Release the ref, keeping the bytes; safe to call twice."""


class Content(Protocol):
    """The content store. Every method raises StoreUnavailableError when containerd is away."""

    async def size(self, digest: Digest) -> int | None:
        """The size in bytes, None when the store does not hold it."""

    def read(self, digest: Digest, offset: int = 0, length: int = 0) -> AsyncIterator[bytes]:
        """Stream `length` bytes of a blob from `offset`, 0 for all that follow; raises ContentMissingError."""

    async def ingest(self, ref: str, lease: str) -> Ingest:
        """Open, or go on with, the ingest `ref` under `lease`."""

    async def ingested(self, ref: str) -> int | None:
        """How many bytes the ingest `ref` holds, None when there is none. Does not open it."""

    async def abort(self, ref: str) -> None:
        """Drop an ingest; one that does not exist is no error."""

    async def put(self, data: bytes, digest: Digest, lease: str, edges: Mapping[str, Digest]) -> None:
        """Store a manifest with gc references to its children (`edges`: place → digest), held by `lease`.

        A manifest that is already there gets the references and the lease too. Raises DigestMismatchError.
        """


@dataclass(frozen=True, slots=True)
class Image:
    """A containerd image record: a name and what it points to."""

    name: str
    target: Descriptor


class Images(Protocol):
    """containerd's image records, which are our tags. Raises StoreUnavailableError when containerd is away."""

    async def get(self, name: str) -> Image | None:
        """The record of this name, None when there is none."""

    async def list(self, prefix: str) -> list[Image]:
        """The records whose names begin with `prefix`."""

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


@dataclass(frozen=True, slots=True)
class Extraction:
    """One step of an unpack: `layer` on top of the snapshot `parent` (a chain ID, empty for the first layer).

    `diff_id` is the digest that the uncompressed layer must have, `chain_id` what the result is called.
    """

    layer: Descriptor
    diff_id: str
    chain_id: str
    parent: str


class Snapshots(Protocol):
    """Unpacked layers in the configured snapshotter. Raises StoreUnavailableError when containerd is away."""

    async def hold(self, lease: str, chain_id: str) -> bool:
        """Add a committed snapshot to a lease and say whether it exists."""

    async def extract(self, step: Extraction, lease: str) -> None:
        """Unpack one layer and commit it as the snapshot `step.chain_id`, held by `lease`.

        Leaves no half snapshot behind. Raises BadLayerError, ContentMissingError.
        """

    async def attach(self, config: Digest, chain_id: str) -> None:
        """Let the image config keep the snapshot `chain_id` alive (a gc reference); raises ContentMissingError."""


# --- upstream -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Transfer:
    """An upload to the upstream under way: where it goes on (an absolute URL) and how many bytes are there."""

    location: str
    offset: int


class Upstream(Protocol):
    """The central registry behind a registry name. Every method raises UpstreamError."""

    async def probe(self) -> None:
        """Ask whether it is there at all; any answer but "I cannot" will do."""

    async def has_blob(self, repository: Repository, blob: Descriptor) -> bool:
        """Whether the upstream holds this blob, with this size."""

    async def begin_upload(
        self, repository: Repository, digest: Digest, source: Repository | None = None
    ) -> Transfer | None:
        """Open an upload, or mount the blob from `source`: then there is nothing to send, and None is returned."""

    async def find_upload(self, repository: Repository, transfer: Transfer) -> Transfer | None:
        """Where an upload that broke off stands; None when the upstream has forgotten it or cannot go on with it."""

    async def upload_blob(
        self, repository: Repository, blob: Descriptor, transfer: Transfer, data: AsyncIterator[bytes]
    ) -> None:
        """Send what is missing of a blob, streamed, and finish its upload."""

    def read_blob(self, repository: Repository, digest: Digest) -> AsyncIterator[bytes]:
        """Stream a blob back; raises ContentMissingError when the upstream does not have it."""

    async def put_manifest(self, repository: Repository, reference: str, media_type: str, raw: bytes) -> None:
        """Put a manifest by digest or by tag."""

    async def delete_manifest(self, repository: Repository, reference: str) -> bool:
        """Delete a tag or a manifest; False when there was none."""

    async def get_manifest(self, repository: Repository, reference: str, media_type: str) -> bytes | None:
        """Read a manifest back, None when the upstream has none."""

    async def lists_referrers(self, repository: Repository, subject: Digest) -> bool:
        """Whether the upstream lists by itself what refers to a manifest (spec: end-12)."""


# --- journal ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UploadRow:
    """An upload session as the journal knows it; `touched` is Unix time."""

    id: str
    repository: Repository
    touched: float


class Uploads(Protocol):
    """Upload sessions."""

    async def begin(self, upload: UploadRow) -> None:
        """Record a new session."""

    async def find(self, upload_id: str) -> UploadRow | None:
        """The session of this id."""

    async def touch(self, upload_id: str, now: float) -> None:
        """Note that a request used the session."""

    async def end(self, upload_id: str) -> None:
        """Forget a session."""

    async def finish(self, upload: UploadRow, digest: Digest, lease: str) -> str | None:
        """In one transaction: the repository is granted the blob, held by `lease`, and the session ends.

        Returns the lease of an earlier upload of the same blob, which has nothing left to hold.
        """

    async def stale(self, before: float) -> list[UploadRow]:
        """The sessions not used since `before`."""


class Grants(Protocol):
    """Which repository holds which content."""

    async def granted(self, repository: Repository, digests: list[Digest]) -> set[Digest]:
        """Those of `digests` that the repository holds."""

    async def media_type(self, repository: Repository, digest: Digest) -> str | None:
        """The media type of a manifest that the repository holds, None when it holds no such manifest."""

    async def given(self, repository: Repository, digests: list[Digest]) -> dict[Digest, str | None]:
        """Those of `digests` that the repository ever held, deleted since or not: what its jobs may take upstream.

        A manifest comes with its media type, a blob with None.
        """

    async def grant(self, repository: Repository, digest: Digest, lease: str) -> str | None:
        """The repository holds this blob, and `lease` does until an image refers to it.

        Returns the lease of an earlier grant of the same blob, which has nothing left to hold.
        """

    async def revoke(self, repository: Repository, digest: Digest) -> str | None:
        """The repository does not hold this content any longer; returns the lease that held it since its upload."""

    async def anywhere(self, registry: str, digest: Digest) -> bool:
        """Whether any repository of a registry holds this content."""

    async def exists(self, repository: Repository) -> bool:
        """Whether the repository holds anything."""

    async def repositories(self, registry: str, after: str, limit: int) -> list[str]:
        """The first `limit` paths of repositories that hold anything, in ASCII order, from behind `after`."""

    async def referrers(self, repository: Repository, subject: Digest) -> list[Descriptor]:
        """The manifests that the repository was given about `subject`, in the order in which they came."""

    async def settle(self, repository: Repository, digests: list[Digest]) -> list[str]:
        """The blobs are referenced now: forget, and return, the leases that held them since their upload."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Which task is claimed next: none of a `closed` registry, the newest or the oldest first.

    Either way those of the repositories go first that have the fewest running.
    """

    closed: frozenset[str] = frozenset()
    newest: bool = False


OLDEST = Rule()


class Jobs(Protocol):
    """Acknowledged pushes and deletes, and the tasks that each one brings."""

    async def enqueue(self, push: NewJob) -> Job:
        """In one transaction: a job with its tasks, and the repository is granted the manifest."""

    async def enqueue_delete(self, delete: NewDelete) -> Job:
        """A job with the one task to delete upstream what was deleted here."""

    async def claim(self, kind: Kind, now: float, horizon: float, rule: Rule = OLDEST) -> Task | None:
        """Take the due task that is next by `rule`; None when there is none.

        Tasks of one tag are never claimed side by side, so that a later push cannot be overtaken by an earlier one;
        a delete waits for the pushes of its manifest before it, and a push for the deletes before it;
        a referrer waits for its subject, if that was pushed before it.
        A task that waits longer than `horizon` seconds is due too: the clock has been set back.
        """

    async def next_due(self, kind: Kind, closed: frozenset[str] = frozenset()) -> float | None:
        """Unix time at which the next task falls due, but for those that wait for another task to end.

        Tasks of `closed` registries do not count.
        """

    async def settle(self, task: Task, outcome: Outcome) -> None:
        """Write how an attempt ended."""

    async def superseded(self, job: Job) -> bool:
        """Whether its tag was pushed again later."""

    async def held(self) -> list[Job]:
        """The jobs whose lease must be kept: not replicated yet, or still to be unpacked."""

    async def needs_lease(self, job: Job) -> bool:
        """Whether a job is among those of `held`."""

    async def find(self, repository: Repository, reference: Reference) -> tuple[Task, ...]:
        """The tasks of the newest job of this tag or digest; empty when there is none."""

    async def unfinished(self, limit: int) -> list[Task]:
        """Tasks that are waiting, running or parked, oldest first."""

    async def counts(self) -> dict[tuple[Kind, State], int]:
        """How many tasks there are of each kind in each state."""

    async def tasks(self, job_id: int) -> tuple[Task, ...]:
        """The tasks of one job; empty when there is no such job."""

    async def newest(self) -> int:
        """The greatest id of a job, 0 when there is none."""

    async def since(self, job_id: int, limit: int) -> list[Task]:
        """The tasks of jobs with one that waits, runs or is parked, and of those after `job_id`; the oldest jobs first.

        It takes no more than `limit` jobs, each with all its tasks.
        """

    async def in_state(self, state: State, limit: int) -> list[Task]:
        """The tasks in a state, oldest first."""

    async def retry(self, job_id: int | None) -> list[tuple[int, Kind]]:
        """The tasks of a job, or of all, that are parked or wait for a time are due now; returns job and kind."""

    async def cancel(self, job_id: int, reason: str) -> list[Kind]:
        """Give up a job's tasks that are parked or wait, but none while one of them is running; returns them."""

    async def pushed_again(self, job: Job) -> bool:
        """Whether a push after a delete brought, or is bringing, upstream again what the delete names."""

    async def backlog(self) -> dict[State, int]:
        """How many tasks there are in each of the states that are not over."""

    async def hurry(self, registry: str | None) -> None:
        """All tasks that wait for a time are due now; or, if `registry` is given, those that wait for its upstream."""


class Transfers(Protocol):
    """What is known of the upstreams: uploads that can be gone on with, and which blobs lie where."""

    async def find(self, repository: Repository, digest: Digest) -> Transfer | None:
        """The upload of a blob that was begun before."""

    async def note(self, repository: Repository, digest: Digest, transfer: Transfer, now: float) -> None:
        """An upload was begun, or got further; `now` is Unix time."""

    async def forget(self, repository: Repository, digest: Digest) -> None:
        """There is no such upload any more."""

    async def saw(self, repository: Repository, digest: Digest, now: float) -> None:
        """The upstream has this blob in this repository; an upload of it is over."""

    async def elsewhere(self, repository: Repository, digest: Digest) -> Repository | None:
        """Another repository of the same registry in which the blob was seen last, to mount it from."""
