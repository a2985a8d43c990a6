"""What becomes of a task whose attempt failed."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.core.errors import (
    BadLayerError,
    ContentMissingError,
    DigestMismatchError,
    JournalUnavailableError,
    StoreUnavailableError,
    UpstreamError,
)
from mirror.core.jobs import Backoff, Job, Outcome, State, decide
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.names import Digest, Reference, Repository
from tests.unit.chance import Most

NOW = 1_700_000_000.0
BACKOFF = Backoff(first=1.0, longest=300.0)
DIGEST = Digest("sha256:" + "0" * 64)

seconds = st.floats(0.001, 1e6)
attempts = st.integers(0, 10**9)
chances = st.randoms()


@given(seconds, seconds, attempts, chances)
def test_a_delay_is_within_its_doubling(first: float, longest: float, failures: int, random: Random) -> None:
    """Full jitter: between nothing and `first` doubled with each failure, never more than `longest`."""
    delay = Backoff(first, longest).delay(failures, random)
    assert 0.0 <= delay <= min(longest, first * 2.0 ** min(failures, 100))


def test_delays_double_up_to_the_longest() -> None:
    """A random number at its upper end shows the bounds themselves."""
    delays = [Backoff(first=1.0, longest=10.0).delay(failures, Most()) for failures in (0, 1, 2, 3, 4, 10**9)]
    assert delays == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


@given(st.floats(0.0, BACKOFF.horizon), attempts, chances)
def test_retry_after_is_a_lower_bound(retry_after: float, failures: int, random: Random) -> None:
    """The upstream is left alone for as long as it asked, and not much longer than our own back-off."""
    error = UpstreamError("busy", transient=True, retry_after=retry_after)
    outcome = decide(error, failures, NOW, BACKOFF, random)
    assert outcome.state is State.PENDING
    assert NOW + retry_after <= outcome.not_before <= NOW + max(retry_after, BACKOFF.longest)


@given(st.floats(0.0, allow_infinity=True), chances)
def test_no_upstream_can_hold_a_task_for_ever(retry_after: float, random: Random) -> None:
    """However long it asks for, the task is due again within the horizon: beyond it the clock is taken to be wrong."""
    error = UpstreamError("busy", transient=True, retry_after=retry_after)
    outcome = decide(error, 0, NOW, BACKOFF, random)
    assert outcome.not_before <= NOW + BACKOFF.horizon


@pytest.mark.parametrize("longest", [0.5, 300.0, 1e6])
def test_the_horizon_is_beyond_every_delay(longest: float) -> None:
    """A task that waits as long as its back-off allows is never taken for one whose clock was set back."""
    assert Backoff(first=0.1, longest=longest).horizon >= longest


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (UpstreamError("503 busy", transient=True), State.PENDING, "503 busy"),
        (UpstreamError("401 no", transient=False), State.PARKED, "401 no"),
        (UpstreamError("403 no", transient=False, retry_after=5), State.PARKED, "403 no"),
        (StoreUnavailableError("containerd: away"), State.PENDING, "containerd: away"),
        (JournalUnavailableError("no room", full=True), State.PENDING, "no room"),
        (ContentMissingError(DIGEST), State.PARKED, f"lost: {DIGEST}"),
        (BadLayerError("no tar"), State.PARKED, "not runnable: no tar"),
        (RegistryError(Problem.MANIFEST_INVALID), State.PARKED, "MANIFEST_INVALID: manifest invalid"),
        (DigestMismatchError("?"), State.PARKED, "internal error: DigestMismatchError('?')"),
        (KeyError("bug"), State.PARKED, "internal error: KeyError('bug')"),
        (ExceptionGroup("", [KeyError()]), State.PARKED, "internal error: ExceptionGroup('', [KeyError()])"),
    ],
)
def test_every_failure_has_its_outcome(error: Exception, state: State, reason: str) -> None:
    """What may pass by itself is retried, what needs a person is parked; both say why."""
    outcome = decide(error, 0, NOW, BACKOFF, Most())
    assert outcome.state is state
    assert outcome.reason == reason
    assert outcome.not_before == (NOW + BACKOFF.first if state is State.PENDING else 0.0)


@given(attempts)
def test_a_transient_failure_is_retried_for_ever(failures: int) -> None:
    """No number of failures parks a task by itself, and no number overflows."""
    outcome = decide(StoreUnavailableError("away"), failures, NOW, BACKOFF, Most())
    assert outcome.state is State.PENDING


@pytest.mark.parametrize(
    ("reference", "image"),
    [
        (Reference(tag="v1", digest=None), "registry.example.com/team/app:v1"),
        (Reference(tag=None, digest=DIGEST), f"registry.example.com/team/app@{DIGEST}"),
    ],
)
def test_a_job_is_named_as_it_was_pushed(reference: Reference, image: str) -> None:
    """The image's name is that of its containerd record."""
    repository = Repository("registry.example.com", "team/app")
    assert Job(1, repository, reference, DIGEST, "", "lease", NOW).image == image


def test_an_outcome_needs_no_more_than_its_state() -> None:
    """What is done has no reason and is never due."""
    assert Outcome(State.DONE) == Outcome(State.DONE, reason="", not_before=0.0)
