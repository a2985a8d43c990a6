"""What commands print: tables, facts and lines, for a person at a terminal and for a program at the end of a pipe.

A command makes *blocks* and hands them to `show`. At a terminal they get colours (unless `NO_COLOR` is set), headings
and the width that there is. In a pipe every row is one line, without headings, and nothing is ever cut.
"""

import json
import sys
import time  # noqa: TID251 - a command is told no clock, and that of `runtime` would import asyncio each time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from shutil import get_terminal_size
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Self

import click

from mirror.cli.exits import FAILED

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

_KIB = 1024
_GAP = "  "
# Columns: what a long one needs not to go under the one before it, and what it gets in any case.
_ROOMY = 40
_LEAST = 16
_SPANS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


class Mood(StrEnum):
    """What a colour says, as a style of rich."""

    GOOD = "green"
    BUSY = "yellow"
    BAD = "bold red"
    QUIET = "dim"
    TITLE = "bold"


class Words(NamedTuple):
    """Text in a colour."""

    text: str
    mood: Mood | None = None


Cell = str | Words


@dataclass(frozen=True, slots=True)
class Facts:
    """Lines of a label and what there is to say; a value that is empty is left out."""

    values: Sequence[tuple[str, Cell]]

    def plain(self) -> list[str]:
        """The lines in a pipe."""
        told = [(f"{label}:" if label else "", words(value).text) for label, value in self.values if words(value).text]
        width = max((len(label) + 1 for label, _ in self.values), default=0)
        return [f"{label:{width}} {text}".rstrip() for label, text in told]

    def rich(self, _: int) -> "RenderableType":
        """The same at a terminal."""
        from rich.table import Table as Grid  # noqa: PLC0415 - see `console`

        grid = Grid.grid(padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for label, value in self.values:
            if words(value).text:
                grid.add_row(_text(Words(f"{label}:" if label else "", Mood.QUIET)), _text(value))
        return grid


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells, of which the last may be long; with `is_stacked` the last two, one under the other if need be.

    At a terminal what does not fit goes on in the next line; with `is_brief` it is cut.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    is_stacked: bool = False
    is_brief: bool = False

    def plain(self) -> list[str]:
        """The lines in a pipe."""
        rows = [[words(cell).text for cell in row] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return [_GAP.join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]

    def rich(self, width: int) -> "RenderableType":
        """The same at a terminal of that width."""
        from rich.table import Table as Grid  # noqa: PLC0415 - see `console`

        rows = [[_text(heading) for heading in self.headings], *([_text(cell) for cell in row] for row in self.rows)]
        if self.is_stacked and _room(rows, width) < _ROOMY:
            rows = [rows[0][:-1], *map(_stacked, rows[1:])]
        grid = Grid.grid(padding=(0, len(_GAP), 0, 0))
        for column in list(zip(*rows, strict=True))[:-1]:
            grid.add_column(no_wrap=True, width=max(map(len, column)))
        brief = {"no_wrap": True, "overflow": "ellipsis"} if self.is_brief else {"overflow": "fold"}
        grid.add_column(width=max(_room(rows, width), _LEAST), **brief)
        if any(self.headings):
            grid.add_row(*rows[0], style=Mood.QUIET.value)
        for row in rows[1:]:
            grid.add_row(*row)
        return grid


Block = Cell | Facts | Table


def show(*blocks: Block) -> None:
    """Print blocks on standard output."""
    if is_terminal():
        out = console()
        out.print(rendered(blocks, out.width), end="")
    else:
        for line in plain(blocks):
            click.echo(line)


def plain(blocks: Sequence[Block]) -> list[str]:
    """Blocks as the lines that a pipe gets."""
    return [
        line
        for block in blocks
        for line in (block.plain() if isinstance(block, Facts | Table) else [words(block).text])
    ]


def rendered(blocks: Sequence[Block], width: int) -> "RenderableType":
    """Blocks as rich draws them."""
    from rich.console import Group  # noqa: PLC0415 - see `console`

    return Group(*(block.rich(width) if isinstance(block, Facts | Table) else _text(block) for block in blocks))


def show_json(value: object, *, line: bool = False) -> None:
    """Print JSON: indented, or each value as a `line` where more follow."""
    click.echo(json.dumps(value, indent=None if line else 2))


def note(text: str) -> None:
    """Say on standard error what is no part of the answer."""
    click.echo(_harmless(text), err=True)


class Ticker:
    """A line at a terminal's standard error that is written anew with each piece of news, and gone at the end."""

    def __init__(self) -> None:
        self.is_seen = sys.stderr.isatty()
        """Whether anybody sees it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def tell(self, text: str) -> None:
        """Say this instead of what was said before."""
        if self.is_seen:
            width = get_terminal_size().columns - 1
            click.echo(f"\r\033[K{_harmless(text)[:width]}", err=True, nl=False, color=True)

    def clear(self) -> None:
        """Take it away, before something else is printed."""
        self.tell("")


def fail(text: str, code: int = FAILED) -> NoReturn:
    """End with an exit code, and a line on standard error that says why and what to do."""
    note(f"registry-mirror: {text}")
    sys.exit(code)


def is_terminal() -> bool:
    """Whether a person reads standard output."""
    return sys.stdout.isatty()


def console() -> "Console":
    """The terminal, as rich sees it; that is imported where there is one only, as it takes its time."""
    from rich.console import Console  # noqa: PLC0415 - that is what this function is for

    return Console(highlight=False, markup=False, emoji=False)


def words(cell: Cell) -> Words:
    """A cell with its colour, if any, and without what a terminal would obey: much of it is others' words."""
    text, mood = (cell, None) if isinstance(cell, str) else cell
    return Words(_harmless(text), mood)


def size(amount: float) -> str:
    """Bytes as people read them, in powers of 1024."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < _KIB:
            return f"{amount:.4g} {unit}"
        amount /= _KIB
    return f"{amount:.4g} TiB"


def span(seconds: float) -> str:
    """A duration as people read it, in its one or two largest units; one word, for those who cut lines at blanks."""
    left = max(round(seconds), 0)
    for index, (unit, length) in enumerate(_SPANS[:-1]):
        if left >= length:
            below, smaller = _SPANS[index + 1]
            rest = left % length // smaller
            return f"{left // length}{unit}{rest}{below}" if rest else f"{left // length}{unit}"
    return f"{left}s"


def since(unix: float) -> str:
    """How long ago that was, as a duration."""
    return span(time.time() - unix)


def until(unix: float) -> str:
    """How long it is until then; `due` when that is over."""
    left = unix - time.time()
    return f"in {span(left)}" if left > 0 else "due"


def moment(unix: float) -> str:
    """A point in time."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _room(rows: "Sequence[Sequence[Text]]", width: int) -> int:
    """How wide the last column of a table can be."""
    return width - sum(max(map(len, column)) + len(_GAP) for column in list(zip(*rows, strict=True))[:-1])


def _stacked(cells: "list[Text]") -> "list[Text]":
    """The cells of a row, the last one under the one before it."""
    *others, above, below = cells
    return [*others, above.append("\n").append_text(below) if below else above]


def _harmless(text: str) -> str:
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def _text(cell: Cell) -> "Text":
    from rich.text import Text  # noqa: PLC0415 - see `console`

    text, mood = words(cell)
    return Text(text, style=mood.value if mood else "")
