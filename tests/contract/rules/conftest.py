"""What the rules work with here: a real journal, containerd and upstream, and a clock that tests move."""

import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from mirror.containerd.channel import Channel
from mirror.containerd.events import EventStream
from mirror.core.ports import Content, Grants, Images, Jobs, Leases, Replacement, Snapshots, Transfers
from mirror.core.progress import Board
from mirror.core.signal import Signal
from mirror.journal.db import Database
from mirror.journal.grants import GrantsTable
from mirror.journal.jobs import JobsTable
from mirror.journal.transfers import TransfersTable
from mirror.journal.uploads import UploadsTable
from mirror.oci.names import Repository
from mirror.upstream.client import RegistryClient
from tests.contract.rules.ledger import Ledger
from tests.contract.rules.way import Way
from tests.contract.upstreams import transport_to
from tests.rig.proxy import Proxy
from tests.rig.registry import Registry
from tests.rig.resumable import UPLOAD, Resumable
from tests.rig.wire import Wire
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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "journal.db"


@pytest_asyncio.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    async with Database(path) as database:
        yield database


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return JobsTable(database)


@pytest.fixture
def grants(database: Database) -> Grants:
    return GrantsTable(database)


@pytest.fixture
def transfers(database: Database) -> Transfers:
    return TransfersTable(database)


@pytest.fixture(scope="module")
def registry(scratch: Path) -> Iterator[Registry]:
    """An upstream for all tests of a file: each has a repository and blobs of its own."""
    with Registry(Path(tempfile.mkdtemp(dir=scratch))) as registry:
        yield registry


@pytest.fixture
def proxy(registry: Registry) -> Iterator[Proxy]:
    """The way to it, on which what a broken upload brought is kept."""
    with Proxy(registry.host) as keeping, Proxy(keeping.host) as proxy:
        keeping.arm(Resumable(Wire(registry.url)), path=UPLOAD, times=None)
        yield proxy


@pytest_asyncio.fixture
async def upstream(proxy: Proxy) -> AsyncIterator[RegistryClient]:
    async with transport_to(proxy.url) as transport:
        yield RegistryClient(transport)


@pytest.fixture
def way(  # noqa: PLR0913, PLR0917 - all the parts there are
    content: Content,
    leases: Leases,
    replacement: Replacement,
    lease: str,
    grants: Grants,
    jobs: Jobs,
    transfers: Transfers,
    clock: ManualClock,
    board: Board,
    upstream: RegistryClient,
    proxy: Proxy,
    registry: Registry,
) -> Way:
    """The way upstream, for a repository of this test alone."""
    repository = Repository("registry.example.com", f"team/{secrets.token_hex(8)}")
    return Way(
        content,
        leases,
        replacement,
        lease,
        grants,
        jobs,
        transfers,
        clock,
        board,
        upstream,
        proxy,
        registry,
        repository,
    )


@pytest.fixture
def ledger(
    way: Way,
    images: Images,
    snapshots: Snapshots,
    database: Database,
    channel: Channel,
    changed: Signal,
    path: Path,
) -> Ledger:
    """What compares the journal with containerd."""
    return Ledger(way, images, snapshots, UploadsTable(database), EventStream(channel), changed, path)
