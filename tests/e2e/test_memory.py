"""The daemon's memory does not grow with the layers that pass through it."""

from pathlib import Path

import pytest

from bench.memory import measure

MIB = 1 << 20


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_layer_of_2_gib(directory: Path) -> None:
    """Pushed, unpacked and replicated, a 2 GiB layer takes less than 150 MiB of memory at the peak."""
    [push] = measure(2048 * MIB, 1, directory)["registry-mirror"]
    assert push.peak_at_the_end < 150 * MIB
