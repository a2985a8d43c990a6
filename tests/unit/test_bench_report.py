"""What a benchmark reports is what it measured."""

import json
from functools import partial
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.chart import draw
from bench.measure import Figure, alternate
from bench.report import Faster, Limit, Measure, Report, Spread, Target, amount
from bench.standings import renew

OURS, PEER = "direct", "ctr content ingest"
MIB = 1 << 20
SVG = "{http://www.w3.org/2000/svg}"


def _measure() -> Measure:
    ours = [Figure(1.0, {"daemon": 0.5}, {"daemon": 80 * MIB}), Figure(2.0, {"daemon": 0.7}, {"daemon": 90 * MIB})]
    peer = [Figure(6.0, {"client": 1.0}, {}), Figure(8.0, {"client": 2.0}, {"client": 10 * MIB})]
    targets: list[Target] = [Faster(4.9, PEER, OURS), Faster(5.1, PEER, OURS), Limit(1.5, OURS), Limit(1.4, OURS)]
    return Measure.timed("1 x 1 GiB", {OURS: ours, PEER: peer}, OURS, targets)


def _report(*more: Measure) -> Report:
    return Report("push", "Pushes & more", "2 processors", [_measure(), *more], ["A note."])


def test_ratios_are_of_one_round() -> None:
    """Each figure is compared with that of its own round, not with the median of them all."""
    assert _measure().ratio(PEER, OURS) == Spread(4.0, 5.0, 6.0)


def test_ways_that_were_not_taken_as_often() -> None:
    """Rounds without a pair are a mistake, and none is left out without a word."""
    with pytest.raises(ValueError, match="shorter"):
        Measure("name", "s", {OURS: [1.0], PEER: [1.0, 2.0]}, OURS).ratio(PEER, OURS)


def test_a_spread() -> None:
    """The median, with the lowest and the highest; a single figure stands for itself."""
    assert Spread.of([3.0, 1.0, 2.5]) == Spread(1.0, 2.5, 3.0)
    assert str(Spread.of([3.0, 1.0, 2.5])) == "2.50 (1.00 to 3.00)"
    assert str(Spread.of([2.0])) == "2.00"


@pytest.mark.parametrize(
    ("figure", "shown"), [(0.0, "0.00"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12,346")]
)
def test_amounts(figure: float, shown: str) -> None:
    """About three digits, and never less than the whole number."""
    assert amount(figure) == shown


def test_targets() -> None:
    """A target is met by the median, from its very value on."""
    measure = _measure()
    assert [target.is_met(measure) for target in measure.claims()] == [True, False, True, False]
    exact: list[Target] = [Faster(5.0, PEER, OURS), Limit(1.5, OURS)]
    assert all(target.is_met(measure) for target in exact)


def test_targets_about_ways_that_were_not_taken() -> None:
    """They are neither met nor missed."""
    ways = {OURS: [1.0], PEER: [2.0]}
    targets: list[Target] = [Faster(2, "another", OURS), Faster(2, PEER, "stream"), Limit(1, "stream"), Limit(1, OURS)]
    assert [*Measure("name", "s", ways, OURS, targets).claims()] == targets[3:]


def test_processes() -> None:
    """What each process took is the median of the rounds; in one where it was not seen it took nothing."""
    measure = _measure()
    assert measure.processor == {OURS: {"daemon": 0.6}, PEER: {"client": 1.5}}
    assert measure.peak == {OURS: {"daemon": 85 * MIB}, PEER: {"client": 5 * MIB}}


def test_markdown() -> None:
    """A row for each way, with all that is known of it, and one for each target."""
    lines = [" ".join(line.split()) for line in _report().markdown().splitlines()]
    assert lines[:7] == ["# Pushes & more", "", "2 processors", "", "A note.", "", "## 1 x 1 GiB"]
    assert "| way | s | as a multiple of direct | processor, s | peak memory, MiB |" in lines
    assert "| direct | 1.50 (1.00 to 2.00) | | daemon 0.60 | daemon 85.0 |" in lines
    assert "| ctr content ingest | 7.00 (6.00 to 8.00) | 5.00 (4.00 to 6.00) | client 1.50 | client 5.00 |" in lines
    assert "| direct: at least 4.9 times as fast as ctr content ingest | 5.00 (4.00 to 6.00) | yes |" in lines
    assert "| direct: at most 1.4 s | 1.50 (1.00 to 2.00) | no |" in lines


def test_columns_of_nothing() -> None:
    """What nobody measured has no column; without targets there is no table of them."""
    bare = Measure("waits", "ms", {"50": [1.0], "99": [2.0]}, "50")
    markdown = Report("load", "Load", "2 processors", [bare]).markdown()
    assert "processor, s" not in markdown
    assert "target" not in markdown


def test_what_is_written(tmp_path: Path) -> None:
    """The tables, and beside them every single figure with what came of the targets."""
    _report().write(tmp_path / "results")
    assert (tmp_path / "results/push.md").read_text() == _report().markdown()
    [measure] = json.loads((tmp_path / "results/push.json").read_bytes())["measures"]
    assert measure["ways"] == {OURS: [1.0, 2.0], PEER: [6.0, 8.0]}
    assert [target["met"] for target in measure["targets"]] == [True, False, True, False]
    assert measure["targets"][0]["measured"] == {"low": 4.0, "median": 5.0, "high": 6.0}


def test_where_targets_stand(tmp_path: Path) -> None:
    """The README has a row for each target of each report, in the order of their names, and is else as it was."""
    readme, results = tmp_path / "README.md", tmp_path / "results"
    readme.write_text("Before.\n<!-- targets -->\nold\n<!-- /targets -->\nAfter.\n")
    size = Measure("2 images", "MiB", {OURS: [1.0, 3.0, 1.5]}, OURS, [Limit(1.2, OURS)])
    for report in (Report("wan", "Far away", "2 processors", [size]), _report()):
        report.write(results)
    renew(readme, results)
    first, begin, _, _, *rows, end, last = readme.read_text().splitlines()
    assert (first, begin, end, last) == ("Before.", "<!-- targets -->", "<!-- /targets -->", "After.")
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[-1] for row in cells] == ["yes", "no", "yes", "no", "no"]
    assert cells[-1] == [
        f"[Far away]({results}/wan.md): 2 images",
        "direct: at most 1.2 MiB",
        "1.50 (1.00 to 3.00)",
        "no",
    ]


def test_a_drawing() -> None:
    """Bars are as long as their medians, ours told from the others; text is escaped, and nothing overlaps."""
    svg = ET.fromstring(draw(_report(Measure("2 & 3", "MiB", {OURS: [0.0]}, OURS))))  # noqa: S314 - our own
    bars = svg.findall(f"{SVG}rect")
    assert [bar.get("class") for bar in bars] == ["ours", "theirs", "ours"]
    widths = [float(bar.get("width", "")) for bar in bars]
    assert widths[0] / widths[1] == pytest.approx(1.5 / 7.0, rel=0.01)
    assert widths[2] == 0
    tops = [float(bar.get("y", "")) for bar in bars]
    assert all(later - earlier >= float(bars[0].get("height", "")) for earlier, later in pairwise(tops))
    assert max(tops) < float(svg.get("height", ""))
    texts = [text.text for text in svg.findall(f"{SVG}text")]
    assert {"Pushes & more", "1 x 1 GiB, s", PEER, "7.00 (6.00 to 8.00)", "2 & 3, MiB"} <= set(texts)


def test_ways_take_turns() -> None:
    """Each is taken once in each round, and every round begins with another one."""
    taken: list[str] = []

    def way(name: str) -> int:
        taken.append(name)
        return len(taken)

    given = alternate({name: partial(way, name) for name in "abc"}, 4)
    assert "".join(taken) == "abcbcacababc"
    assert given == {"a": [1, 6, 8, 10], "b": [2, 4, 9, 11], "c": [3, 5, 7, 12]}
