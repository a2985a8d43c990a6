"""What the benchmark of replication measures is what it says."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.replication import Bench, measure, measure_head_start

SIZES = [2 << 20, 1000]


@pytest.fixture
def bench(directory: Path) -> Iterator[Bench]:
    """Without a head start."""
    with Bench(directory, eager=False) as bench:
        yield bench


def test_all_bring_the_same_image(bench: Bench) -> None:
    """When any says that it is done, the upstream has the very image; the clock of the daemon runs forwards."""
    layout = bench.image("image", SIZES)
    for way, name in ((bench.replicate, "ours"), (bench.copy, "skopeo"), (bench.push, "ctr")):
        assert way(layout, name).seconds > 0
        stored = bench.upstream.manifest(name, "v1")
        assert stored is not None
        assert stored.digest == layout.digest


def test_each_round_has_content_of_its_own(bench: Bench) -> None:
    """No blob of a round is known to anybody from an earlier one, so that none is mounted."""
    first, second = (bench.image(f"round-{number}", SIZES) for number in range(2))
    assert not {blob.digest for blob in first.children} & {blob.digest for blob in second.children}


def test_rounds(directory: Path) -> None:
    """Every round gives a figure of each way."""
    assert [len(figures) for figures in measure(SIZES, 2, directory).values()] == [2, 2, 2]


def test_the_share_of_a_head_start(directory: Path) -> None:
    """It is a share of the image, no byte counted twice."""
    assert 0 <= measure_head_start(SIZES, directory).share <= 1
