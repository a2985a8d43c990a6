"""Outlasting a journal that cannot be written, on a clock that the test moves."""

import asyncio

import pytest
from structlog.testing import capture_logs

from mirror.core.errors import JournalUnavailableError, StoreUnavailableError
from mirror.core.outlast import outlast
from tests.unit.clock import ManualClock


class Journal:
    """A write that fails so many times, and counts how often it was tried."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.tries = 0

    async def write(self) -> str:
        """Fail, or say that it is written."""
        self.tries += 1
        if self.tries <= self.failures:
            raise JournalUnavailableError("no room", full=True)
        return "written"


async def test_it_is_tried_until_it_succeeds() -> None:
    """After waits that double up to eight seconds and grow no further; the result is that of the last try."""
    clock, waits = ManualClock(), (0.5, 1.0, 2.0, 4.0, 8.0, 8.0)
    journal = Journal(failures=len(waits))
    running = asyncio.create_task(outlast(clock, journal.write))
    for tries, wait in enumerate(waits, start=1):
        await clock.until_asleep(wait)
        assert journal.tries == tries
        clock.advance(wait)
    assert await running == "written"


@pytest.mark.parametrize(("failures", "events"), [(0, []), (3, ["journal.unavailable", "journal.available"])])
async def test_an_outage_is_two_lines(failures: int, events: list[str]) -> None:
    """One when it begins, with its reason, and one when it is over; none where there was none."""
    clock = ManualClock()
    with capture_logs() as lines:
        running = asyncio.create_task(outlast(clock, Journal(failures).write))
        for wait in (0.5, 1.0, 2.0)[:failures]:
            await clock.until_asleep(wait)
            clock.advance(wait)
        await running
    assert [line["event"] for line in lines] == events
    assert [line["reason"] for line in lines if line["log_level"] == "warning"] == ["no room"] * bool(failures)


async def test_other_errors_are_not_its_business() -> None:
    """What is not the journal's fault comes out as it is, at once."""

    async def work() -> None:
        raise StoreUnavailableError("containerd: away")

    with pytest.raises(StoreUnavailableError, match="away"):
        await outlast(ManualClock(), work)
