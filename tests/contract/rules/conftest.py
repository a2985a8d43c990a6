"""What the rules work with here: a real journal, a real containerd for leases, and a clock that tests move."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from mirror.core.ports import Jobs
from mirror.core.progress import Board
from mirror.core.signal import Signal
from mirror.journal.db import Database
from mirror.journal.jobs import JobsTable
from tests.unit.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def changed() -> Signal:
    return Signal()


@pytest.fixture
def board() -> Board:
    return Board()


@pytest_asyncio.fixture
async def jobs(tmp_path: Path) -> AsyncIterator[Jobs]:
    async with Database(tmp_path / "journal.db") as database:
        yield JobsTable(database)
