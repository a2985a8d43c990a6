"""Writes the table for readers: all of it to docs/conformance.md, a summary to the README.

`python -m tests.conformance.render` does it; a test holds both to the table.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.conformance.requirements import REQUIREMENTS, Category, Inapplicable, Level, Requirement

_ROOT = Path(__file__).parents[2]
DOCUMENT = _ROOT / "docs" / "conformance.md"
README = _ROOT / "README.md"

_HERE = Path(__file__).parent
_ABOUT_THE_TABLE = "test_table"
_MARKED = re.compile("(?<=<!-- conformance -->\n).*(?=<!-- /conformance -->)", re.DOTALL)
_COLUMNS: Mapping[str, frozenset[Level]] = {
    "MUST": frozenset({Level.MUST, Level.MUST_NOT}),
    "SHOULD": frozenset({Level.SHOULD, Level.SHOULD_NOT}),
    "MAY": frozenset({Level.MAY}),
}

_PREAMBLE = """\
# Conformance

What the [OCI distribution spec](https://github.com/opencontainers/distribution-spec/blob/main/spec.md) (1.1 and what
its main branch has added since, as of July 2026) asks of a registry, in our words, and the test that proves each point
against the running daemon on a real containerd. Every MUST, MUST NOT, SHOULD and SHOULD NOT has a row; a MAY is listed
where we have made a choice that clients notice. What the spec asks of clients alone is left out. The part on HTTP is
what RFC 9110 asks where the spec only points to it.

Run the tests with `pytest tests/conformance`. This page is written by `python -m tests.conformance.render`, from
[the table](../tests/conformance/requirements.py).
"""

_SUMMARY = """\
What the OCI distribution spec (1.1 and its main branch of July 2026) asks of a registry is a table here, and each row
names the test that proves it on a real containerd: [docs/conformance.md](docs/conformance.md).
"""


def proofs() -> Iterator[tuple[str, str]]:
    """Every test function there is, with the name of its module; not those that look after the table itself."""
    for path in sorted(_HERE.glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and path.stem != _ABOUT_THE_TABLE:
                yield node.name, path.stem


def document() -> str:
    """The whole table, one part for each category."""
    modules = dict(proofs())
    parts = [_PREAMBLE]
    for category in Category:
        rows = [row for row in REQUIREMENTS if row.category is category]
        parts.append(f"## {category}\n\n" + "\n".join([*_HEAD, *(_line(row, modules) for row in rows)]) + "\n")
    return "\n".join(parts)


_HEAD = ("| section | level | requirement | proven by |", "|---|---|---|---|")


def _line(row: Requirement, modules: Mapping[str, str]) -> str:
    match row.proof:
        case Inapplicable(reason):
            proof = f"*not applicable:* {reason}"
        case test:
            module = modules[test]
            proof = f"[{module}](../tests/conformance/{module}.py) `{test}`"
    return f"| {row.section} | {row.level} | {row.text} | {proof} |"


def summary() -> str:
    """How many rows of each category are proven, for the README."""
    head = ["| category | MUST | SHOULD | our choices (MAY) | not applicable |", "|---|---|---|---|---|"]
    lines = [f"| {category} | {' | '.join(map(str, _counts(category)))} |" for category in Category]
    totals = [sum(column) for column in zip(*map(_counts, Category), strict=True)]
    return "\n".join([_SUMMARY, *head, *lines, f"| **all** | {' | '.join(map(str, totals))} |"]) + "\n"


def _counts(category: Category) -> list[int]:
    """Rows proven of each column's levels, and rows not applicable."""
    rows = [row for row in REQUIREMENTS if row.category is category]
    proven = [row for row in rows if not isinstance(row.proof, Inapplicable)]
    return [*(sum(row.level in levels for row in proven) for levels in _COLUMNS.values()), len(rows) - len(proven)]


def readme(text: str) -> str:
    """The README with its section brought up to date."""
    return _MARKED.sub(lambda _: summary(), text)


if __name__ == "__main__":
    DOCUMENT.write_text(document())
    README.write_text(readme(README.read_text()))
