"""Fixtures: real parts in short directories of their own; a failing test shows the ends of their logs."""

import os
import secrets
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.rig.containerd import Containerd, version
from tests.rig.daemon import Daemon
from tests.rig.process import Process
from tests.rig.registry import Registry

UPSTREAM = "registry.example.com"

# A slow machine is no failure: no example has a deadline, and none is too slow to be made.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """Where everything lives; pytest's own directories are too long for the path of a socket."""
    with tempfile.TemporaryDirectory(prefix="mirror-") as directory:
        yield Path(directory)


@pytest.fixture
def directory(scratch: Path) -> Path:
    """A fresh directory of one test, whose name is one that a repository can have, too."""
    directory = scratch / secrets.token_hex(6)
    directory.mkdir()
    return directory


def _private_containerd(scratch: Path) -> Iterator[Containerd]:
    if os.geteuid():
        pytest.skip("a private containerd needs root")
    with Containerd(Path(tempfile.mkdtemp(dir=scratch))) as containerd:
        yield containerd


@pytest.fixture(scope="module")
def containerd(scratch: Path) -> Iterator[Containerd]:
    """The host's containerd, as the daemon sees it."""
    yield from _private_containerd(scratch)


@pytest.fixture(scope="module")
def client_containerd(scratch: Path) -> Iterator[Containerd]:
    """A builder's containerd, which `ctr` pushes from: what the daemon's holds came by a push."""
    yield from _private_containerd(scratch)


@pytest.fixture
def registry(directory: Path) -> Iterator[Registry]:
    """The upstream, empty."""
    with Registry(directory / "upstream") as registry:
        yield registry


@pytest.fixture
def daemon(directory: Path, containerd: Containerd, registry: Registry) -> Iterator[Daemon]:
    """The daemon with a fresh journal, between `containerd` and `registry`."""
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: registry.url}) as daemon:
        yield daemon
    assert not daemon.complaints()


def pytest_report_header() -> str:
    """Say which containerd this is about."""
    return version() or "no containerd"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that take a containerd; those that start one of their own are marked where they stand."""
    for item in items:
        if isinstance(item, pytest.Function) and "containerd" in item.fixturenames:
            item.add_marker("containerd")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the ends of the logs to the report of a failure."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        parts = [part for part in item.funcargs.values() if isinstance(part, Process)]
        report.sections += [(f"{part.name}'s log", part.log_tail()) for part in parts]
    return report
