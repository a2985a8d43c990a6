"""The circuit breaker: closed, open, and closed again by a probe."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from mirror.core.errors import ContentMissingError, UpstreamError
from mirror.core.jobs import Backoff
from mirror.core.replication.breaker import Breaker, Condition
from tests.unit.chance import Most
from tests.unit.clock import ManualClock

AWAY = UpstreamError("503 no", transient=True, away=True)
REFUSED = UpstreamError("403 no", transient=False)


class Upstream:
    """Answers probes, or not."""

    def __init__(self) -> None:
        self.is_there = False
        self.probes = 0

    async def probe(self) -> None:
        """Count, and answer."""
        self.probes += 1
        if not self.is_there:
            raise AWAY


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def breaker(clock: ManualClock) -> Breaker:
    return Breaker(clock=clock, random=Most(), backoff=Backoff(1.0, 8.0))


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest_asyncio.fixture
async def back(breaker: Breaker, upstream: Upstream) -> AsyncIterator[asyncio.Queue[bool]]:
    """What is told when the upstream is back, while the breaker is watched."""
    told: asyncio.Queue[bool] = asyncio.Queue()
    watch = asyncio.create_task(breaker.watch(upstream.probe, told.put))
    yield told
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)


async def call(breaker: Breaker, error: Exception | None) -> None:
    """One request, that ends in this way."""
    async with breaker.guard():
        if error:
            raise error


async def fail(breaker: Breaker, times: int, error: Exception = AWAY) -> None:
    """Some requests that fail."""
    for _ in range(times):
        with pytest.raises(type(error)):
            await call(breaker, error)


async def test_it_opens_after_failures_in_a_row(breaker: Breaker) -> None:
    """From then on requests are refused before they are made, with the upstream's own words."""
    await fail(breaker, 2)
    assert not breaker.is_open
    await fail(breaker, 1)
    assert breaker.is_open
    with pytest.raises(UpstreamError, match="away: 503 no") as refusal:
        async with breaker.guard():
            pytest.fail("a request was made")
    assert refusal.value.transient


async def test_it_says_what_is_the_matter(
    breaker: Breaker, clock: ManualClock, upstream: Upstream, back: asyncio.Queue[bool]
) -> None:
    """Nothing before it opens, then away and what the last answer was; away counts more than a rest."""
    began = clock.now()
    await fail(breaker, 1, UpstreamError("429 slowly", transient=True, retry_after=7.0))
    assert (breaker.condition, breaker.reason, breaker.since) == (Condition.RESTING, "429 slowly", began)
    clock.advance(7.0)
    await fail(breaker, 2)
    assert (breaker.condition, breaker.reason, breaker.since) == (Condition.OK, "", None)
    await fail(breaker, 1)
    assert (breaker.condition, breaker.reason, breaker.since) == (Condition.AWAY, "503 no", began + 7.0)
    await clock.until_asleep(1.0)
    upstream.is_there = True
    clock.advance(1.0)
    await back.get()
    assert (breaker.condition, breaker.reason) == (Condition.OK, "")


@pytest.mark.parametrize("answer", [None, REFUSED, UpstreamError("429", transient=True)])
async def test_any_answer_starts_the_count_again(breaker: Breaker, answer: Exception | None) -> None:
    """A success, a refusal, too many requests: whoever says so is there."""
    await fail(breaker, 2)
    if answer:
        await fail(breaker, 1, answer)
    else:
        await call(breaker, None)
    await fail(breaker, 2)
    assert not breaker.is_open


async def test_errors_of_our_own_do_not_count(breaker: Breaker) -> None:
    """They say nothing about the upstream, neither for it nor against it."""
    await fail(breaker, 2)
    await fail(breaker, 5, ContentMissingError("gone"))
    assert not breaker.is_open
    await fail(breaker, 1)
    assert breaker.is_open


async def test_one_probe_at_a_time_until_it_is_back(
    breaker: Breaker, clock: ManualClock, upstream: Upstream, back: asyncio.Queue[bool]
) -> None:
    """The pauses double up to the longest; then requests pass again."""
    await fail(breaker, 3)
    for probes, pause in enumerate([1.0, 2.0, 4.0, 8.0, 8.0]):
        await clock.until_asleep(pause)
        assert upstream.probes == probes
        clock.advance(pause)
    await clock.until_asleep(8.0)
    upstream.is_there = True
    clock.advance(8.0)
    assert await back.get()
    await call(breaker, None)
    assert upstream.probes == 6


async def test_back_at_the_first_probe(
    breaker: Breaker, clock: ManualClock, upstream: Upstream, back: asyncio.Queue[bool]
) -> None:
    """Then it was never away: some requests failed, and they wait for their own time."""
    upstream.is_there = True
    for _ in range(2):
        await fail(breaker, 3)
        await clock.until_asleep(1.0)
        clock.advance(1.0)
        assert not await back.get()
        assert not breaker.is_open


async def test_a_late_answer_does_not_close_it(breaker: Breaker, clock: ManualClock, back: asyncio.Queue[bool]) -> None:
    """What was on its way when it opened may still end well; the probe decides."""
    async with breaker.guard():
        await fail(breaker, 3)
    assert breaker.is_open
    await clock.until_asleep(1.0)
    assert back.empty()


async def test_who_asks_for_time_gets_it(
    breaker: Breaker, clock: ManualClock, upstream: Upstream, back: asyncio.Queue[bool]
) -> None:
    """No request passes before it is over, and none is made to find out; who is refused knows how long it takes."""
    await fail(breaker, 1, UpstreamError("429 slowly", transient=True, retry_after=7.0))
    clock.advance(2.0)
    assert breaker.is_open
    with pytest.raises(UpstreamError, match="asked for time: 429 slowly") as refusal:
        await call(breaker, None)
    assert refusal.value.retry_after == 5.0
    await clock.until_asleep(5.0)
    clock.advance(5.0)
    assert not await back.get()
    await call(breaker, None)
    assert upstream.probes == 0


async def test_an_hour_is_the_longest_rest(breaker: Breaker, clock: ManualClock) -> None:
    """Whatever the upstream says."""
    await fail(breaker, 1, UpstreamError("429", transient=True, retry_after=10**9))
    clock.advance(3600.0)
    await call(breaker, None)


async def test_a_person_says_that_it_is_back(
    breaker: Breaker, clock: ManualClock, upstream: Upstream, back: asyncio.Queue[bool]
) -> None:
    """Then it is probed at once, however long the pause would be; said of one that is there it changes nothing."""
    breaker.hurry()
    await fail(breaker, 3)
    await clock.until_asleep(1.0)
    upstream.is_there = True
    breaker.hurry()
    await back.get()
    await call(breaker, None)
    assert upstream.probes == 1
