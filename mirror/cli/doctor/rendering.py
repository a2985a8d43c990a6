"""What was found, for a person and for a program."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from mirror.cli.doctor.checks import Result, Verdict
from mirror.cli.screen import Mood, Words, show, show_json

_SIGNS = {Verdict.OK: "✓", Verdict.HINT: "·", Verdict.WARNING: "!", Verdict.BROKEN: "✗", Verdict.SKIPPED: "-"}
_MOODS = {
    Verdict.OK: Mood.GOOD,
    Verdict.WARNING: Mood.BUSY,
    Verdict.BROKEN: Mood.BAD,
    Verdict.SKIPPED: Mood.QUIET,
}
_WORD = max(len(verdict) for verdict in Verdict)


def tell(results: Sequence[Result]) -> None:
    """Print the results by their subjects, with colours at a terminal; words say the same without."""
    show(*_lines(results))


def tell_json(results: Sequence[Result]) -> None:
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
    show_json({"checks": checks, "counts": _counts(results)})


def _lines(results: Sequence[Result]) -> Iterator[Words]:
    for subject, group in groupby(results, lambda result: result.check.name.partition(".")[0]):
        yield Words(subject, Mood.TITLE)
        for result in group:
            yield from _result(result)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in _counts(results).items() if count)
    yield Words(counts, Mood.TITLE)


def _result(result: Result) -> Iterator[Words]:
    finding = result.finding
    what = " ".join(filter(None, [result.check.name.partition(".")[2], result.check.about]))
    sign = f"{_SIGNS[finding.verdict]} {finding.verdict:{_WORD}}"
    yield Words(f"  {sign}  {what}: {finding.seen}", _MOODS.get(finding.verdict))
    if finding.remedy:
        yield Words(f"    {'':{_WORD}}  → {finding.remedy}")


def _counts(results: Sequence[Result]) -> dict[Verdict, int]:
    return {verdict: sum(result.finding.verdict is verdict for result in results) for verdict in Verdict}
