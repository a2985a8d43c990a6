"""Jobs and their tasks, and the one rule for a failed attempt: again later, or parked for a person."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from mirror.core.errors import (
    BadLayerError,
    ContentMissingError,
    JournalUnavailableError,
    StoreUnavailableError,
    UpstreamError,
)
from mirror.core.timeline import Arrival, Timeline
from mirror.core.trace import Trace
from mirror.oci.errors import RegistryError
from mirror.oci.manifest import Descriptor
from mirror.oci.names import Digest, Reference, Repository

LONGEST_RETRY_AFTER = 3600.0
"""Seconds; an upstream that wants to be left alone for longer is asked again after this."""


class Kind(StrEnum):
    """What is to be done with an acknowledged manifest, or its name."""

    REPLICATE = "replicate"
    UNPACK = "unpack"
    DELETE = "delete"
    """Of what was deleted here, where the upstream is to follow."""
    CONVERT = "convert"
    """To a variant that starts faster elsewhere, once all else is done."""


ON_PUSH = (Kind.REPLICATE, Kind.UNPACK)
"""What there is to do for every push."""


class State(StrEnum):
    """Where a task stands. PENDING → RUNNING → DONE, SKIPPED (nothing to do), PARKED (needs a person) or PENDING.

    A person makes a PARKED or PENDING task PENDING again at once, or CANCELLED for good. The replication of a variant
    is CANCELLED when its tag moves on.
    """

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"
    PARKED = "parked"
    CANCELLED = "cancelled"


FINISHED = frozenset({State.DONE, State.SKIPPED, State.PARKED, State.CANCELLED})
"""States that a task does not leave by itself."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A manifest about to be acknowledged. `lease` holds its content; `now` is Unix time.

    `subject` is the digest that it refers to, and `referrer` how it is listed there; `arrival` is how it came,
    `trace` the span that it is acknowledged in. `convert` says that a variant of it is to be made, `is_variant` that it
    is one.
    """

    repository: Repository
    reference: Reference
    digest: Digest
    media_type: str
    lease: str
    now: float
    subject: Digest | None = None
    referrer: Descriptor | None = None
    arrival: Arrival | None = None
    trace: Trace | None = None
    convert: bool = False
    is_variant: bool = False

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What there is to do for it."""
        return (*ON_PUSH, Kind.CONVERT) if self.convert else ON_PUSH

    def gives_way(self, kind: Kind) -> bool:
        """Whether a task of it is not to delay those of others: what is upstream already starts there, too."""
        return self.is_variant and kind is Kind.REPLICATE


@dataclass(frozen=True, slots=True)
class NewDelete:
    """A delete about to be acknowledged that the upstream is to follow; `now` is Unix time."""

    repository: Repository
    reference: Reference
    digest: Digest
    media_type: str
    now: float


@dataclass(frozen=True, slots=True)
class Job:
    """An acknowledged push or delete on its way; a greater `id` was acknowledged later.

    `lease` holds what was pushed; it is empty for a delete, which holds nothing. `created` is the Unix time of its
    acknowledgement; the timeline, as it was when this was read, and the span that it was acknowledged in say nothing
    about which job it is.
    """

    id: int
    repository: Repository
    reference: Reference
    digest: Digest
    media_type: str
    lease: str
    created: float
    timeline: Timeline = field(default=Timeline(), compare=False)
    trace: Trace | None = field(default=None, compare=False)

    @property
    def image(self) -> str:
        """The name it was pushed under."""
        return self.repository.image(self.reference)


@dataclass(frozen=True, slots=True)
class Task:
    """One of the things to do for a job; `attempts` counts those that failed, `reason` is why the last one did.

    One that `gives_way` must not delay those that do not.
    """

    job: Job
    kind: Kind
    state: State
    attempts: int
    not_before: float
    reason: str
    gives_way: bool = False


class Cause(StrEnum):
    """Whose failure it was, in a word."""

    NONE = ""
    UPSTREAM_AWAY = "upstream away"
    UPSTREAM_BUSY = "upstream busy"
    UPSTREAM_REFUSED = "upstream refused"
    CONTAINERD = "containerd"
    JOURNAL = "journal"
    LOST = "lost"
    NOT_RUNNABLE = "not runnable"
    REFUSED = "refused"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: the task's next state, when it is due again (Unix time) and why."""

    state: State
    reason: str = ""
    not_before: float = 0.0
    cause: Cause = Cause.NONE


class Random(Protocol):
    """Randomness, injected so that tests can choose it (`random.Random` fits)."""

    def uniform(self, a: float, b: float) -> float:
        """A number between `a` and `b`."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait after failures, in seconds: doubling from `first` up to `longest`."""

    first: float
    longest: float

    @property
    def horizon(self) -> float:
        """What no wait exceeds, in seconds: a task that is due later than that had its clock set back."""
        return max(self.longest, LONGEST_RETRY_AFTER)

    def delay(self, attempts: int, random: Random) -> float:
        """Full jitter: anywhere between nothing and the whole delay, so that hosts do not come back in step."""
        doubled = self.first * 2.0 ** min(attempts, 32)
        return random.uniform(0.0, min(self.longest, doubled))


def decide(  # noqa: PLR0911 - a table, one row a case
    error: Exception, attempts: int, now: float, backoff: Backoff, random: Random
) -> Outcome:
    """What becomes of a task whose attempt failed with `error` after `attempts` earlier failures.

    Transient errors are retried for ever; an upstream's Retry-After, up to an hour, is a lower bound. Everything else
    is parked with its reason, an error of our own included: a job that trips over a bug must not take the others with
    it.
    """
    match error:
        case UpstreamError(transient=True):
            wait = max(backoff.delay(attempts, random), error.retry_after or 0.0)
            cause = Cause.UPSTREAM_AWAY if error.away else Cause.UPSTREAM_BUSY
            return Outcome(State.PENDING, str(error), now + min(wait, backoff.horizon), cause)
        case StoreUnavailableError():
            return Outcome(State.PENDING, str(error), now + backoff.delay(attempts, random), Cause.CONTAINERD)
        case JournalUnavailableError():
            return Outcome(State.PENDING, str(error), now + backoff.delay(attempts, random), Cause.JOURNAL)
        case ContentMissingError():
            return Outcome(State.PARKED, f"lost: {error}", cause=Cause.LOST)
        case BadLayerError():
            return Outcome(State.PARKED, f"not runnable: {error}", cause=Cause.NOT_RUNNABLE)
        case UpstreamError():
            return Outcome(State.PARKED, str(error), cause=Cause.UPSTREAM_REFUSED)
        case RegistryError():
            return Outcome(State.PARKED, str(error), cause=Cause.REFUSED)
        case _:
            return Outcome(State.PARKED, f"internal error: {error!r}", cause=Cause.INTERNAL)
