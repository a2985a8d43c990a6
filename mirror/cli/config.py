"""`registry-mirror config`: whether the settings are right, what they come to, and what there is to set."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mirror.cli.exits import BAD_SETTINGS, FAILED
from mirror.cli.options import config_option, json_option, settings_or_exit
from mirror.cli.screen import Mood, Words, show, show_json
from mirror.config.lines import Lines, line_of, lines

if TYPE_CHECKING:
    from mirror.config.problems import Problem


@click.group()
def config() -> None:
    """Check the settings, show what they come to, or print what there is to set."""


@config.command()
@click.option("--strict", is_flag=True, help="End with 1 if there are warnings.")
@json_option
@config_option
def check(path: Path, *, strict: bool, as_json: bool) -> None:
    """Say all that is wrong with the settings and with the files that they name, and what to do about it.

    Those are read as the daemon reads them when it starts. A warning is about what works, and is hardly meant. Nothing
    is connected to: that is for `doctor`. Run it as the daemon's user, who may read what the settings name.

    Exit code 0: the settings can be used. 1: they can, but there are warnings, with --strict. 2: they cannot.
    """
    from mirror.app import checking  # noqa: PLC0415 - it takes longer to import than most of the other commands to run

    positions = _positions(path)
    problems = sorted(checking.check(path), key=lambda each: (each.is_warning, _line(each, positions) or 0))
    if as_json:
        show_json({"file": str(path), "problems": [_as_json(each, positions) for each in problems]})
    else:
        show(*_lines(path, problems, positions))
    if not all(each.is_warning for each in problems):
        sys.exit(BAD_SETTINGS)
    if problems and strict:
        sys.exit(FAILED)


@config.command("show")
@click.option("--all", "everything", is_flag=True, help="The defaults, too.")
@json_option
@config_option
def show_(path: Path, *, everything: bool, as_json: bool) -> None:
    """Print the settings that count, as TOML, each with where it comes from: a line of the file, or a default.

    A secret that is not in a file of its own is named by its credential or variable; nothing secret is printed, nor a
    login that is part of a URL.
    """
    from mirror.cli import effective  # noqa: PLC0415 - see `check`

    shown = effective.Settings(settings_or_exit(path), path, everything=everything)
    if as_json:
        show_json(shown.as_json())
    else:
        click.echo(shown.as_toml())


@config.command("reference")
@click.option("--toml", is_flag=True, help="As a settings file, in which what has a default is commented out.")
@json_option
def reference_(*, toml: bool, as_json: bool) -> None:
    """Print all that there is to set, with types, defaults and units, as a page in Markdown."""
    from mirror.config import reference  # noqa: PLC0415 - see `check`

    if as_json:
        show_json(reference.listing())
    else:
        click.echo(reference.example() if toml else reference.page(), nl=False)


def _lines(path: Path, problems: "Sequence[Problem]", positions: Lines) -> Iterator[Words]:
    for each in problems:
        kind, mood = ("warning", Mood.BUSY) if each.is_warning else ("error", Mood.BAD)
        line = _line(each, positions)
        where = f"{path}:{line}" if line else str(path)
        yield Words(": ".join(filter(None, [where, kind, each.key, each.reason])), mood)
        if each.advice:
            yield Words(f"  → {each.advice}")
    counts = Counter("warning" if each.is_warning else "error" for each in problems)
    words = ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in counts.items())
    verdict = "cannot be used" if counts["error"] else "can be used"
    yield Words(f"{path} {verdict}" + (f": {words}" if words else ""), Mood.TITLE)


def _as_json(problem: "Problem", positions: Lines) -> dict[str, object]:
    return {
        "key": problem.key,
        "line": _line(problem, positions),
        "severity": "warning" if problem.is_warning else "error",
        "reason": problem.reason,
        "advice": problem.advice,
    }


def _positions(path: Path) -> Lines:
    """Where the keys of the file are; nowhere if it cannot be read."""
    try:
        return lines(path.read_text())
    except (OSError, ValueError):
        return {}


def _line(problem: "Problem", positions: Lines) -> int | None:
    """Where the key is, or else the table that it would be in."""
    names = problem.path
    while names and (line := line_of(positions, names)) is None:
        names = names[:-1]
    return line if names else None
