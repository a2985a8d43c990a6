"""What was found, for a person at a terminal, for one who reads a file, and for a program."""

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby

import click
from rich.console import Console
from rich.text import Text

from mirror.cli.doctor.checks import Result, Verdict

_SIGNS = {Verdict.OK: "✓", Verdict.HINT: "·", Verdict.WARNING: "!", Verdict.BROKEN: "✗", Verdict.SKIPPED: "-"}
_STYLES = {
    Verdict.OK: "green",
    Verdict.HINT: "cyan",
    Verdict.WARNING: "yellow",
    Verdict.BROKEN: "bold red",
    Verdict.SKIPPED: "dim",
}
_WORD = max(len(verdict) for verdict in Verdict)


def show(results: Sequence[Result]) -> None:
    """Print the results by their subjects, with colours at a terminal; words say the same without."""
    lines = _lines(results)
    if sys.stdout.isatty():
        console = Console(highlight=False)
        for text, style in lines:
            console.print(Text(text, style), soft_wrap=True)
    else:
        for text, _ in lines:
            click.echo(text)


def show_json(results: Sequence[Result]) -> None:
    """Print the results as one JSON object."""
    checks = [
        {
            "check": result.check.name,
            "about": result.check.about,
            "verdict": result.finding.verdict,
            "seen": result.finding.seen,
            "remedy": result.finding.remedy,
        }
        for result in results
    ]
    click.echo(json.dumps({"checks": checks, "counts": _counts(results)}, indent=2))


def _lines(results: Sequence[Result]) -> Iterator[tuple[str, str]]:
    for subject, group in groupby(results, lambda result: result.check.name.partition(".")[0]):
        yield subject, "bold"
        for result in group:
            yield from _result(result)
    yield ", ".join(f"{count} {verdict}" for verdict, count in _counts(results).items() if count), "bold"


def _result(result: Result) -> Iterator[tuple[str, str]]:
    finding = result.finding
    what = " ".join(filter(None, [result.check.name.partition(".")[2], result.check.about]))
    sign = f"{_SIGNS[finding.verdict]} {finding.verdict:{_WORD}}"
    yield _harmless(f"  {sign}  {what}: {finding.seen}"), _STYLES[finding.verdict]
    if finding.remedy:
        yield _harmless(f"    {'':{_WORD}}  → {finding.remedy}"), ""


def _counts(results: Sequence[Result]) -> dict[Verdict, int]:
    return {verdict: sum(result.finding.verdict is verdict for result in results) for verdict in Verdict}


def _harmless(text: str) -> str:
    """Without what a terminal would obey: some of it is others' words."""
    return "".join(char if char.isprintable() else " " for char in text)
