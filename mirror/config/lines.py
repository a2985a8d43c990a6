"""On which line of a settings file a key is: the TOML reader of the standard library does not tell."""

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

Lines = Mapping[tuple[str, ...], int]


def lines(text: str) -> Lines:
    """The line of each key and each table of a TOML document, counted from 1, by the names that lead to it.

    A document is a row of statements, headers and pairs, each of which is TOML by itself; and what is cut off in its
    middle is none. So the reader says where each of them ends, whatever strings and arrays it goes through. Raises
    ValueError for what is no TOML.
    """
    tomllib.loads(text)
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, statement, is_header in _statements(text):
        paths = [(*(() if is_header else table), *path) for path in _paths(statement)]
        if is_header:
            table = paths[-1]
        for path in paths:
            found.setdefault(path, number)
    return found


def line_of(found: Lines, path: tuple[str, ...]) -> int | None:
    """Where a key is, or begins: a table may be written key by key."""
    return min((line for each, line in found.items() if each[: len(path)] == path), default=None)


def _statements(text: str) -> Iterator[tuple[int, Mapping[str, Any], bool]]:
    """The line that each begins on, what it says, and whether it is a header."""
    begun: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        begun.append(line)
        try:
            statement = tomllib.loads("\n".join(begun))
        except tomllib.TOMLDecodeError:
            continue
        if statement:
            yield number - len(begun) + 1, statement, begun[0].lstrip().startswith("[")
        begun = []


def _paths(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """A path to everything in there, outermost first."""
    if path:
        yield path
    match value:
        case dict():
            for name, inner in value.items():
                yield from _paths(inner, (*path, name))
        case [dict() as last]:  # an array of tables
            yield from _paths(last, path)
