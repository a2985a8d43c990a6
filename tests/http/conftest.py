"""One daemon for the whole directory: what a test leaves behind is for the tests to notice."""

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.registry import Registry
from tests.rig.wire import Wire

OTHER = "other.example.com:5443"


@pytest.fixture(scope="module")
def upstream(scratch: Path) -> Iterator[Registry]:
    """The upstream of both registries."""
    with Registry(Path(tempfile.mkdtemp(dir=scratch))) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def daemon(scratch: Path, containerd: Containerd, upstream: Registry) -> Iterator[Daemon]:
    """A daemon with two upstreams; `registry.example.com` is the default."""
    directory = Path(tempfile.mkdtemp(dir=scratch))
    upstreams = {UPSTREAM: upstream.url, OTHER: upstream.url}
    with Daemon(directory / "daemon", containerd.address, upstreams) as daemon:
        yield daemon
    assert not daemon.complaints()


@pytest.fixture
def wire(daemon: Daemon) -> Wire:
    """Requests to the daemon."""
    return Wire(daemon.url)


@dataclass(frozen=True)
class Held:
    """All that a push can leave behind."""

    contents: frozenset[str]
    ingests: frozenset[str]
    leases: frozenset[str]
    sessions: frozenset[str]

    def __le__(self, other: "Held") -> bool:
        """Whether all of it is in the other, too."""
        return all(ours <= theirs for ours, theirs in zip(astuple(self), astuple(other), strict=True))


@pytest.fixture
def held(daemon: Daemon, containerd: Containerd) -> Callable[[], Held]:
    """What containerd and the journal hold now, after everything that nobody holds has been collected."""

    def look() -> Held:
        containerd.collect_garbage()
        with sqlite3.connect(f"file:{daemon.directory}/journal.db?mode=ro", uri=True) as journal:
            sessions = frozenset(row[0] for row in journal.execute("SELECT id FROM uploads"))
        journal.close()
        leases = {lease for lease in containerd.leases() if lease.startswith("registry-mirror/")}
        return Held(frozenset(containerd.contents()), frozenset(containerd.ingests()), frozenset(leases), sessions)

    return look
