"""The table holds together: rows, tests and what readers see of them are the same."""

from collections import Counter

from tests.conformance import render
from tests.conformance.requirements import REQUIREMENTS, Inapplicable


def test_every_row_has_a_test_and_every_test_a_row() -> None:
    """The functions that the rows name are those that there are."""
    named = {row.proof for row in REQUIREMENTS if not isinstance(row.proof, Inapplicable)}
    assert named == {function for function, _ in render.proofs()}


def test_every_test_has_a_name_of_its_own() -> None:
    """A row means one function, in whichever file it is."""
    assert [name for name, count in Counter(function for function, _ in render.proofs()).items() if count > 1] == []


def test_no_row_twice() -> None:
    """Nothing is counted double."""
    rows = Counter((row.section, row.level, row.text) for row in REQUIREMENTS)
    assert [row for row, count in rows.items() if count > 1] == []


def test_what_readers_see() -> None:
    """docs/conformance.md and the README's section are what `python -m tests.conformance.render` writes."""
    text = render.README.read_text()
    assert render.summary() in text
    assert render.readme(text) == text
    assert render.DOCUMENT.read_text() == render.document()
