"""`registry-mirror images`: what is here."""

from itertools import groupby
from pathlib import Path
from typing import Any

import click

from mirror.cli.admin import Question, ask, socket_option
from mirror.cli.options import config_option, json_option
from mirror.cli.screen import Block, Cell, Mood, Table, Words, is_terminal, note, show, show_json, since, size

_HEADINGS = ("DIGEST", "SIZE", "USED", "PHASE", "UNPACK", "KEPT")
_SHORT = len("sha256:") + 12
_MOODS = {"parked": Mood.BAD, "not runnable": Mood.BAD, "replicated": Mood.GOOD, "replicating": Mood.BUSY}


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
    blocks: list[Block] = []
    for repository, group in groupby(found, key=lambda image: image["repository"]):
        rows = [[Words(image["tag"] or "(no tag)"), image["digest"][:_SHORT], *_about(image)] for image in group]
        blocks += [Words(repository, Mood.TITLE), Table(["TAG", *_HEADINGS], rows)]
    return blocks


def _about(image: dict[str, Any]) -> list[Cell]:
    phase = image["phase"] or "-"
    return [
        size(image["bytes"]).replace(" ", ""),
        since(image["used"]),
        Words(phase, _MOODS.get(phase)),
        image["unpack"] or "-",
        Words(", ".join(image["kept"]), Mood.QUIET),
    ]
