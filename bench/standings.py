"""Where each target stands by the results that are there: the table that the README shows."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from bench.report import Spread, table

_MARKED = re.compile("(?<=<!-- targets -->\n).*(?=<!-- /targets -->)", re.DOTALL)


class _Target(msgspec.Struct):
    target: str
    measured: Spread
    met: bool


class _Measure(msgspec.Struct):
    name: str
    targets: Sequence[_Target]


class _Results(msgspec.Struct):
    """What a report's JSON has of this; the rest is skipped."""

    title: str
    measures: Sequence[_Measure]


def standings(results: Path) -> str:
    """A table of all targets in a directory of results, in Markdown."""
    return table(_rows(results)) + "\n"


def _rows(results: Path) -> Iterator[Sequence[str]]:
    yield "measured", "target", "stands at", "met"
    for file in sorted(results.glob("*.json")):
        found = msgspec.json.decode(file.read_bytes(), type=_Results)
        for measure in found.measures:
            for target in measure.targets:
                what = f"[{found.title}]({results}/{file.stem}.md): {measure.name}"
                yield what, target.target, str(target.measured), "yes" if target.met else "no"


def renew(readme: Path, results: Path) -> None:
    """Put the table between the README's marks."""
    readme.write_text(_MARKED.sub(lambda _: standings(results), readme.read_text()))
