"""The parts that a fault is done to, each of them one test's own."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.containerd import Containerd


@pytest.fixture
def containerd(scratch: Path) -> Iterator[Containerd]:
    """A containerd that may be killed, paused and emptied without hurting another test."""
    with Containerd(Path(tempfile.mkdtemp(dir=scratch))) as containerd:
        yield containerd
