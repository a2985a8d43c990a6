"""Rates and numbers at once, and who counts as one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.core.access import ANONYMOUS, Principal
from mirror.core.fairness import AtOnce, Meter
from mirror.core.party import Party, party_of, source_of
from mirror.core.ports import UploadRow
from mirror.core.sessions import Sessions
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.names import Repository
from tests.unit.clock import ManualClock

REPOSITORY = Repository("registry.example.com", "team/app")


def passes(meter: Meter, party: str = "alice") -> bool:
    """Whether one more request is taken."""
    try:
        meter.take(party)
    except RegistryError:
        return False
    return True


def test_a_burst_and_then_the_rate() -> None:
    """After a pause so many are taken at once, and from then on as many as the rate allows."""
    clock = ManualClock()
    meter = Meter(clock, 2.0, 5)
    assert [passes(meter) for _ in range(7)] == [True] * 5 + [False] * 2
    clock.advance(0.5)
    assert [passes(meter) for _ in range(2)] == [True, False]
    clock.advance(3600)
    assert [passes(meter) for _ in range(6)] == [True] * 5 + [False]


def test_each_has_its_own() -> None:
    """What one has used up is not missing for another."""
    meter = Meter(ManualClock(), 1.0, 1)
    assert passes(meter)
    assert not passes(meter)
    assert passes(meter, "bob")


def test_when_to_come_again() -> None:
    """Whoever comes again when he was told to is served."""
    clock = ManualClock()
    meter = Meter(clock, 0.1, 1)
    meter.take("alice")
    with pytest.raises(RegistryError) as refusal:
        meter.take("alice")
    assert refusal.value.problem is Problem.TOO_MANY_REQUESTS
    clock.advance(float(refusal.value.headers["Retry-After"]))
    assert passes(meter)


def test_no_limit() -> None:
    """A rate of 0 takes all."""
    meter = Meter(ManualClock(), 0.0, 1)
    assert all(passes(meter) for _ in range(1000))


def test_memory_is_bounded() -> None:
    """Of many addresses the debts of those that came last are remembered, and nothing of those that have none."""
    clock = ManualClock()
    meter = Meter(clock, 1.0, 1)
    for number in range(30_000):
        meter.take(str(number))
    assert len(meter._due) == 10_000
    assert not passes(meter, "29999")
    assert passes(meter, "0")
    clock.advance(10)
    meter.take("again")
    assert list(meter._due) == ["again"]


@given(st.lists(st.floats(0, 5), max_size=200), st.integers(1, 20), st.integers(1, 10))
def test_never_more_than_the_rate(pauses: list[float], rate: int, burst: int) -> None:
    """However requests come, no more are taken than the burst and what the rate makes of the time that passed."""
    clock = ManualClock()
    meter, taken = Meter(clock, rate, burst), 0
    for pause in pauses:
        clock._monotonic += pause
        taken += passes(meter)
        assert taken <= burst + rate * clock.monotonic() + 1e-6


def test_so_many_at_once() -> None:
    """One more is refused until one of them has ended, however it did; others do not count."""
    uploads = AtOnce(2, Problem.TOO_MANY_CONNECTIONS, 4.2)
    with uploads.one("alice"):
        with uploads.one("alice"):
            with pytest.raises(RegistryError, match="the limit is 2 at once") as refusal, uploads.one("alice"):
                pass
            with uploads.one("bob"):
                pass
        with uploads.one("alice"):
            pass
    assert refusal.value.headers == {"Retry-After": "5"}
    assert not uploads._running


def test_sessions_are_counted_until_they_end() -> None:
    """Those of an earlier life too, each once; another one's are not in the way."""
    sessions = Sessions(2)
    first, second, third, other = (UploadRow(f"u{n}", REPOSITORY, 0.0, "alice") for n in range(4))
    sessions.recall(first)
    sessions.begin(second)
    with pytest.raises(RegistryError) as refusal:
        sessions.begin(third)
    assert refusal.value.problem is Problem.TOO_MANY_SESSIONS
    sessions.begin(UploadRow("u9", REPOSITORY, 0.0, "bob"))
    for _ in range(2):
        sessions.end(first)
    sessions.begin(third)
    with pytest.raises(RegistryError):
        sessions.begin(other)
    for upload in (second, third):
        sessions.end(upload)
    assert sessions._open.keys() == {"bob"}


@pytest.mark.parametrize(
    ("address", "place"),
    [
        (None, "unix"),
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:0:1::17", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:ffff::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_places(address: str | None, place: str) -> None:
    """Whoever has a network of IPv6 does not become another with each of its addresses."""
    assert source_of(address) == place


def test_who_counts_as_one() -> None:
    """A principal wherever he is; nobody in particular by where he is."""
    assert party_of(Principal("basic", "alice", "acme"), "10.0.0.1") == Party("basic:alice", "acme")
    assert party_of(ANONYMOUS, "10.0.0.1") == Party("10.0.0.1")
