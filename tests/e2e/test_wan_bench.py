"""What the benchmark of a long link measures is what it says."""

import pytest

from bench import wan
from bench.deploying import OURS, STEPS, THEIRS


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_program() -> None:
    """Deploys and a replication cross the link, which none of them can do faster than it is."""
    sizes = ["--shapes", "weights", "--megabytes", "2", "--mebibytes", "4", "--layers", "2"]
    report = wan.main(["--links", "100", *sizes, "--rounds", "1"])
    *deploys, replication = report.measures
    assert len(deploys) == len(STEPS) + 2
    for measure in deploys:
        assert measure.ways.keys() == {OURS, THEIRS}
    [alone] = replication.ways["the bits alone"]
    assert len(replication.ways) == 5
    for way, [seconds] in replication.ways.items():
        assert way == "the bits alone" or seconds > alone


@pytest.mark.parametrize(
    ("text", "link", "name"),
    [("100", wan.Kind(100, 0), "170 ms, 100 Mbit/s"), ("50/0.5", wan.Kind(50, 0.5), "170 ms, 50 Mbit/s, 0.5 % lost")],
)
def test_links(text: str, link: wan.Kind, name: str) -> None:
    """Links are given, and named in the report, by their rate and what they lose."""
    assert wan.Kind.parse(text) == link
    assert str(link) == name
