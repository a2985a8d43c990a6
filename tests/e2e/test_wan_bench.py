"""What the benchmark of a long link measures is what it says."""

import pytest

from bench import wan
from bench.deploying import OURS, STEPS, THEIRS


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_deploys() -> None:
    """Each step of both ways crosses the link."""
    report = wan.main(["--links", "100", "--shapes", "weights", "--megabytes", "2", "--rounds", "1"])
    assert len(report.measures) == len(STEPS) + 2
    for measure in report.measures:
        assert measure.ways.keys() == {OURS, THEIRS}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_replication() -> None:
    """An image crosses the link, which no way does faster than it is."""
    report = wan.main_of_replication(["--links", "100", "--mebibytes", "4", "--layers", "2", "--rounds", "1"])
    [replication] = report.measures
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
