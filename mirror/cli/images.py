"""`registry-mirror images`: what is here."""

from itertools import groupby
from pathlib import Path
from typing import Any

import click

from mirror.cli.admin import Question, ask, socket_option
from mirror.cli.options import config_option, json_option
from mirror.cli.screen import Block, Cell, Mood, Table, Words, is_terminal, note, show, show_json, since, size, words
from mirror.cli.tasks import PHASES

_HEADINGS = ("DIGEST", "SIZE", "USED", "PHASE", "UNPACK", "KEPT")
_SHORT = 12
_NONE = [""] * (len(_HEADINGS) + 1)


@click.command()
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1)
@click.option("--limit", type=click.IntRange(1, 1000), default=1000, show_default=True, help="List no more than these.")
@json_option
@config_option
@socket_option
def images(patterns: tuple[str, ...], limit: int, path: Path, socket: Path | None, *, as_json: bool) -> None:
    """List the images here that came by the daemon: digest, size, last use, how far they are, and why they are kept.

    A PATTERN is one of a shell, for an image or a repository: `team/app`, 'team/*', '*:v1'. SIZE is all that an image
    consists of; others may share it. What has nothing under KEPT may be evicted. Of what was not pushed under its name,
    but pulled or made by others, PHASE is a dash.
    """
    answer = ask(path, socket, Question("/images", [("limit", str(limit)), *(("match", one) for one in patterns)]))
    if as_json:
        show_json(answer)
        return
    show(*(_by_repository(answer["images"]) if is_terminal() else [_whole(answer["images"])]))
    if answer["last"]:
        note(f"… and more after {answer['last']}: give a pattern")


def _whole(found: list[dict[str, Any]]) -> Table:
    """A line for each image, with its whole name and digest."""
    return Table(["IMAGE", *_HEADINGS], [[image["image"], image["digest"], *_about(image)] for image in found])


def _by_repository(found: list[dict[str, Any]]) -> list[Block]:
    """The same under the names of repositories, as far as a person wants to read it."""
    headings: list[Cell] = [Words(heading, Mood.QUIET) for heading in ("  TAG", *_HEADINGS)]
    rows = [[f"  {image['tag'] or '-'}", image["digest"].partition(":")[2][:_SHORT], *_about(image)] for image in found]
    first, *others = _aligned([headings, *rows])
    blocks: list[Block] = [Table(_NONE, [first])] if found else []
    for repository, group in groupby(zip(found, others, strict=True), key=lambda pair: pair[0]["repository"]):
        blocks += [Words(repository, Mood.TITLE), Table(_NONE, [row for _, row in group])]
    return blocks


def _aligned(rows: list[list[Cell]]) -> list[list[Cell]]:
    """Rows of several tables whose columns are to be one below the other; but for the last, which may be long."""
    widths = [max(len(words(cell).text) for cell in column) for column in zip(*rows, strict=True)]
    widths[-1] = 0
    return [
        [words(cell)._replace(text=words(cell).text.ljust(width)) for cell, width in zip(row, widths, strict=True)]
        for row in rows
    ]


def _about(image: dict[str, Any]) -> list[Cell]:
    phase = image["phase"] or "-"
    return [
        size(image["bytes"]).replace(" ", ""),
        since(image["used"]),
        Words(phase, PHASES.get(phase)),
        image["unpack"] or "-",
        Words(", ".join(image["kept"]), Mood.QUIET),
    ]
