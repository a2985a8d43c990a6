"""What commands print: sizes, times, tables, and nothing that a terminal would obey."""

import time

import pytest

from mirror.cli.screen import Facts, Mood, Table, Words, plain, rendered, size, span, until

LONG = "x" * 200


@pytest.mark.parametrize(
    ("amount", "said"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (5 << 20, "5 MiB"), (3 << 40, "3 TiB")],
)
def test_sizes(amount: int, said: str) -> None:
    """In powers of 1024."""
    assert size(amount) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "0s"), (0.4, "0s"), (59, "59s"), (60, "1m"), (61, "1m1s"), (7260, "2h1m"), (86400, "1d"), (90061, "1d1h")],
)
def test_durations(seconds: float, said: str) -> None:
    """In one word, of their largest two units."""
    assert span(seconds) == said


def test_what_is_over_is_due() -> None:
    """A time that is past is not told as one to come."""
    now = time.time()
    assert (until(now - 9), until(now + 90)) == ("due", "in 1m30s")


def test_a_pipe_gets_all_of_it() -> None:
    """A line for each row, the columns one below the other, without headings and without an end to a line."""
    table = Table(["A", "B", "C"], [["1", Words("two", Mood.BAD), LONG], ["one", "2", ""]])
    assert plain(["first", table, Facts([("a", "1"), ("none", ""), ("bc", "2")])]) == [
        "first",
        f"1    two  {LONG}",
        "one  2",
        "a:    1",
        "bc:   2",
    ]


@pytest.mark.parametrize(("columns", "lines"), [(40, 8), (80, 4), (240, 2)])
def test_a_terminal_cuts_nothing_either(columns: int, lines: int) -> None:
    """What does not fit goes on in the next line, or under the column before; where it is to be brief it is cut."""
    rows = [["7", "name", LONG]]
    printed = _printed(Table(["ID", "NAME", "WHY"], rows, is_stacked=True), columns)
    assert "".join(printed).count("x") == len(LONG)
    assert len(printed) == lines
    brief = _printed(Table(["ID", "NAME", "WHY"], rows, is_stacked=True, is_brief=True), 40)
    assert [line.rstrip() for line in brief] == ["ID  NAME", "7   name", f"    {'x' * 35}…"]


def test_others_words_do_not_command_the_terminal() -> None:
    """Escapes and line ends of an upstream's answer are blanks."""
    hostile = "503 \x1b]0;owned\x07 and\nmore\r\x9b2J"
    (line,) = plain([hostile])
    assert line == "503  ]0;owned  and more  2J"
    assert "\x1b" not in "".join(_printed(Facts([("reason", hostile)]), 80))


def _printed(block: Table | Facts, columns: int) -> list[str]:
    from rich.console import Console  # noqa: PLC0415 - the command imports it late, too

    console = Console(width=columns, highlight=False, markup=False)
    with console.capture() as capture:
        console.print(rendered([block], columns))
    return capture.get().splitlines()
