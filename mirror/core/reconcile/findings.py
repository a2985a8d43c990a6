"""What a comparison can find: what it is about, what is wrong with it, and what is needed to mend it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mirror.core.jobs import Job
from mirror.core.ports import Grant
from mirror.oci.names import Digest, Reference, Repository


@dataclass(frozen=True, slots=True)
class OrphanLease:
    """A lease of ours that no job, session or grant needs: it ends."""

    kind: ClassVar[str] = "orphan lease"
    subject: str
    detail: ClassVar[str] = "nothing needs it"


@dataclass(frozen=True, slots=True)
class OrphanIngest:
    """A partial upload without a session, or of a restore that is over: its bytes are dropped."""

    kind: ClassVar[str] = "orphan ingest"
    subject: str
    detail: ClassVar[str] = "nobody will go on with it"


@dataclass(frozen=True, slots=True)
class HalfSnapshot:
    """A snapshot that an unpack of ours left unfinished: it is removed."""

    kind: ClassVar[str] = "half snapshot"
    subject: str
    detail: ClassVar[str] = "its unpacking was broken off"


@dataclass(frozen=True, slots=True)
class MissingLease:
    """A job that is not over has no lease: it is made again, and holds what the job needs."""

    kind: ClassVar[str] = "missing lease"
    job: Job

    @property
    def subject(self) -> str:
        """The lease."""
        return self.job.lease

    @property
    def detail(self) -> str:
        """Whose it is."""
        return f"job {self.job.id}, {self.job.image}, is not held"


@dataclass(frozen=True, slots=True)
class LooseContent:
    """Content that a job needs is not in its lease: it is held again."""

    kind: ClassVar[str] = "loose content"
    job: Job
    digests: Sequence[Digest]

    @property
    def subject(self) -> str:
        """The lease."""
        return self.job.lease

    @property
    def detail(self) -> str:
        """What is missing in it."""
        return f"does not hold {', '.join(self.digests)} of job {self.job.id}, {self.job.image}"


@dataclass(frozen=True, slots=True)
class GoneContent:
    """Content that a job needs is not in the store: its next attempt fetches it, or is parked as lost.

    That attempt is due now, unless the job `is_parked` already.
    """

    kind: ClassVar[str] = "gone content"
    job: Job
    digests: Sequence[Digest]
    is_parked: bool

    @property
    def subject(self) -> str:
        """The image."""
        return self.job.image

    @property
    def detail(self) -> str:
        """What is gone."""
        return f"job {self.job.id} needs {', '.join(self.digests)}"


@dataclass(frozen=True, slots=True)
class UnknownTag:
    """Others made or moved an image record to a manifest that was pushed to its repository: it gets a job."""

    kind: ClassVar[str] = "unknown tag"
    repository: Repository
    tag: Reference
    digest: Digest
    media_type: str

    @property
    def subject(self) -> str:
        """The image."""
        return self.repository.image(self.tag)

    @property
    def detail(self) -> str:
        """What it stands for."""
        return f"no job brings it upstream as {self.digest}"


@dataclass(frozen=True, slots=True)
class StaleGrants:
    """Grants of content that is gone, and that no job needs: they are dropped."""

    kind: ClassVar[str] = "stale grants"
    repository: Repository
    grants: Sequence[Grant]

    @property
    def subject(self) -> str:
        """The repository."""
        return str(self.repository)

    @property
    def detail(self) -> str:
        """How many there are."""
        return f"{len(self.grants)} of content that is gone, such as {self.grants[0].digest}"


@dataclass(frozen=True, slots=True)
class Damage:
    """Content that does not have its digest any more: it is fetched from the upstream of a repository that holds it."""

    kind: ClassVar[str] = "damage"
    digest: Digest
    holders: Sequence[Repository]

    @property
    def subject(self) -> str:
        """The digest."""
        return self.digest

    @property
    def detail(self) -> str:
        """Whose content it is."""
        return f"other bytes on the disk; in {', '.join(str(holder) for holder in self.holders)}"


Finding = (
    OrphanLease
    | OrphanIngest
    | HalfSnapshot
    | MissingLease
    | LooseContent
    | GoneContent
    | UnknownTag
    | StaleGrants
    | Damage
)
