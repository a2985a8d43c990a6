"""The parts of the soak; `SOAK_MINUTES` and `SOAK_SEED` in the environment are its settings."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.proxy import Proxy
from tests.rig.registry import Registry
from tests.soak.chaos import Parts

MINUTES = float(os.environ.get("SOAK_MINUTES", "2"))
SEED = int(os.environ.get("SOAK_SEED") or random.SystemRandom().getrandbits(32))

MAX_AGE = 10.0
"""Of an upload session, in seconds: longer than any chaos of ours holds one up, short enough to wait for."""

STALL = 5.0
"""Seconds without progress, after which an upload is broken off."""


@pytest.fixture
def proxy(registry: Registry) -> Iterator[Proxy]:
    """The way to the upstream."""
    with Proxy(registry.host) as proxy:
        yield proxy


@pytest.fixture
def daemon(directory: Path, containerd: Containerd, proxy: Proxy) -> Iterator[Daemon]:
    """The daemon, which meets the upstream by way of the proxy."""
    settings = {"uploads": {"max_age": MAX_AGE}, "replication": {"stall": STALL}}
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: proxy.url}, settings=settings) as daemon:
        yield daemon
    assert not daemon.complaints()


@pytest.fixture
def parts(daemon: Daemon, containerd: Containerd, registry: Registry, proxy: Proxy) -> Parts:
    """All of them, running."""
    return Parts(daemon, containerd, registry, proxy)
