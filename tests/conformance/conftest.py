"""One daemon on real containerd for each file, and a repository of its own for each test."""

import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.repository import Repository
from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.registry import Registry
from tests.rig.wire import Wire

OTHER = "other.example.com:5443"


@pytest.fixture(scope="module")
def upstream(scratch: Path) -> Iterator[Registry]:
    """Where the images go afterwards; no test here looks at it."""
    with Registry(Path(tempfile.mkdtemp(dir=scratch))) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def daemon(scratch: Path, containerd: Containerd, upstream: Registry) -> Iterator[Daemon]:
    """A daemon with two upstreams and the settings that it has by itself."""
    upstreams = {UPSTREAM: upstream.url, OTHER: upstream.url}
    with Daemon(Path(tempfile.mkdtemp(dir=scratch)), containerd.address, upstreams) as daemon:
        yield daemon
    assert not daemon.complaints()


@pytest.fixture
def wire(daemon: Daemon) -> Wire:
    """Requests to the daemon."""
    return Wire(daemon.url)


@pytest.fixture
def repository(wire: Wire) -> Repository:
    """A repository that nobody has pushed to."""
    return Repository(wire, f"conformance/{uuid.uuid4().hex}")
