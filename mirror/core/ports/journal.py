"""The journal: what is ours to remember."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mirror.core.errors import TenantFullError
from mirror.core.jobs import Job, Kind, NewDelete, NewJob, Outcome, State, Task
from mirror.core.ports.recompressor import Recompressed
from mirror.core.ports.upstream import Transfer
from mirror.oci.manifest import Descriptor, Manifest
from mirror.oci.names import Digest, Reference, Repository


@dataclass(frozen=True, slots=True)
class UploadRow:
    """An upload session as the journal knows it; `touched` is Unix time, `owner` the name of whom it counts for."""

    id: str
    repository: Repository
    touched: float
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """Whose a blob of `size` bytes is, and how many bytes this `tenant` may have here altogether; 0 is no limit."""

    tenant: str
    size: int
    most: int = 0

    def check(self, others: int) -> None:
        """Refuse it beside so many bytes of other blobs. Raises TenantFullError."""
        if self.most and others + self.size > self.most:
            raise TenantFullError(self.tenant, others, self.most)


NO_CLAIM = Claim("", 0)
"""What belongs to no tenant."""


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

    async def finish(self, upload: UploadRow, digest: Digest, lease: str, claim: Claim = NO_CLAIM) -> str | None:
        """In one transaction: the repository is granted the blob, held by `lease`, and the session ends.

        Returns the lease of an earlier upload of the same blob, which has nothing left to hold. Raises TenantFullError.
        """

    async def stale(self, before: float) -> list[UploadRow]:
        """The sessions not used since `before`."""

    async def ids(self) -> set[str]:
        """All sessions, by id."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One repository's hold on content, as it was read; `lease` has held a blob since its upload."""

    repository: Repository
    digest: Digest
    lease: str | None
    is_revoked: bool


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

    async def grant(self, repository: Repository, digest: Digest, lease: str, claim: Claim = NO_CLAIM) -> str | None:
        """The repository holds this blob, and `lease` does until an image refers to it.

        Returns the lease of an earlier grant of the same blob, which has nothing left to hold. Raises TenantFullError.
        """

    async def held_by(self, tenant: str, besides: Digest | None = None) -> int:
        """The bytes of the blobs that a tenant's pushes and mounts brought, each once; without one of them."""

    async def pull(self, repository: Repository, manifest: Manifest, lease: str) -> str | None:
        """The repository holds a manifest that came from its upstream, and `lease` does until an image refers to it.

        What was pushed here stays that. Returns the lease of an earlier grant, which has nothing left to hold.
        """

    async def is_pulled(self, repository: Repository, digest: Digest) -> bool:
        """Whether the repository holds this manifest, and nobody pushed it here."""

    async def is_loose(self, repository: Repository, digest: Digest) -> bool:
        """Whether a manifest was pulled and no image refers to it yet."""

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

    async def leases(self) -> set[str]:
        """The leases that hold blobs since their upload."""

    async def loose(self, prefix: str) -> list[Grant]:
        """The grants of blobs that leases hold since their upload whose names begin like this."""

    async def page(self, after: Grant | None, limit: int) -> list[Grant]:
        """The first `limit` grants, revoked ones included, by registry, repository and digest, from behind `after`."""

    async def holders(self, digest: Digest) -> list[Repository]:
        """The repositories that hold this content, whatever their registry."""

    async def drop(self, grants: Sequence[Grant]) -> None:
        """Revoke those of `grants` that are still as they were read: what was pushed again since stays.

        What they were listed as, as referrers, goes with them.
        """

    async def forget(self, grants: Sequence[Grant], newest: int) -> None:
        """Delete those of `grants` that are revoked, unless their repository has a job after `newest`."""

    async def settle(self, repository: Repository, digests: list[Digest]) -> list[str]:
        """The blobs are referenced now: forget, and return, the leases that held them since their upload."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Which task is claimed next: none of a `closed` registry, the newest or the oldest first.

    Either way those of the repositories go first that have the fewest running. It is one of those that give way, or one
    of those that do not.
    """

    closed: frozenset[str] = frozenset()
    newest: bool = False
    gives_way: bool = False


OLDEST = Rule()


@dataclass(frozen=True, slots=True)
class Queued:
    """So many tasks of one kind are in a state that they have still to leave; `oldest` is when that job was made.

    All of it for people; the time is in Unix seconds, and None if all of them give way, as nobody waits for those.
    """

    kind: Kind
    state: State
    tasks: int
    oldest: float | None


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
        Its job's timeline has the first `now`.
        """

    async def next_due(self, kind: Kind, rule: Rule = OLDEST) -> float | None:
        """Unix time at which the next task falls due of those that `rule` is about.

        Those that wait for another task to end do not count.
        """

    async def settle(self, task: Task, outcome: Outcome, now: float | None = None) -> None:
        """Write how an attempt ended, and with `now` (Unix time) when, if nothing is left to do."""

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
        """Give up a job's tasks that are parked or wait, but none while one of them is running; returns them.

        A conversion that is running is in nobody's way.
        """

    async def pushed_again(self, job: Job) -> bool:
        """Whether a push after a delete brought, or is bringing, upstream again what the delete names."""

    async def queue(self) -> list[Queued]:
        """What waits, runs or is parked, by kind and state."""

    async def backlog(self) -> dict[State, int]:
        """How many tasks there are in each of the states that are not over."""

    async def expedite(self, job_id: int) -> None:
        """The tasks of a job that wait for a time are due now."""

    async def hurry(self, registry: str | None) -> None:
        """All tasks that wait for a time are due now; or, if `registry` is given, those that wait for its upstream."""


@dataclass(frozen=True, slots=True)
class UpstreamTag:
    """What a tag means upstream, as of `asked` (Unix time)."""

    digest: Digest
    asked: float


class Transfers(Protocol):
    """What is known of the upstreams: uploads that can be gone on with, which blobs lie where, what tags mean."""

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

    async def tag(self, repository: Repository, tag: str) -> UpstreamTag | None:
        """What a tag meant there when it was asked for last."""

    async def saw_tag(self, repository: Repository, tag: str, digest: Digest, now: float) -> None:
        """The upstream was asked what a tag means at `now` (Unix time)."""

    async def forget_tag(self, repository: Repository, tag: str) -> None:
        """The upstream has no such tag."""


class Conversions(Protocol):
    """What layers of gzip became when they were compressed anew."""

    async def find(self, layer: Digest, level: int) -> Recompressed | None:
        """What a layer became as zstd of a level: content that may be gone again. None if it was never converted."""

    async def note(self, layer: Digest, level: int, made: Recompressed, now: float) -> None:
        """A layer was converted, at `now` in Unix time."""


@dataclass(frozen=True, slots=True)
class Push:
    """The newest push, or delete, of a name.

    `used` is Unix time: of that push, or of a later use. `is_upstream` says that the upstream was seen to have exactly
    this, `is_busy` that its layers are still to be unpacked.
    """

    job: Job
    used: float
    is_upstream: bool
    is_busy: bool


@dataclass(frozen=True, slots=True)
class Pulled:
    """A manifest that came by a pull and that nobody pushed; `used` is Unix time, None if it never was."""

    repository: Repository
    digest: Digest
    used: float | None


class Usage(Protocol):
    """Which images are in use, and what nothing uses any more."""

    async def note(self, repository: Repository, digest: Digest, now: float) -> None:
        """A manifest was used at `now` (Unix time); written at most once an hour."""

    async def pushes(self) -> list[Push]:
        """The newest push of every name, oldest first; of a name that is pushed meanwhile maybe an older one before."""

    async def pulls(self) -> list[Pulled]:
        """The manifests that repositories hold and that nobody pushed."""

    async def newest(self, repository: Repository) -> int:
        """The greatest id of a job of a repository, 0 when there is none."""

    async def drop(self, repository: Repository, digests: list[Digest]) -> None:
        """The repository does not hold this content any longer, but for blobs that an upload has brought again."""
