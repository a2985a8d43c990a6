"""`registry-mirror convert`: the zstd variant of an image, now."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from mirror.cli.admin import Question, RefusedError, complaining, events, socket_of, socket_option
from mirror.cli.options import config_option, json_option
from mirror.cli.screen import console, fail, is_terminal, show, show_json, size

_Tell = Callable[[dict[str, Any]], None]


@click.command()
@click.argument("reference")
@click.option("--level", type=click.IntRange(1, 19), help="Of zstd; else as in the settings, or 3.")
@click.option(
    "--mode",
    type=click.Choice(["referrer", "tag-suffix", "index"]),
    help="How the variant is found; else as in the settings, or `tag-suffix`.",
)
@json_option
@config_option
@socket_option
def convert(
    reference: str, level: int | None, mode: str | None, path: Path, socket: Path | None, *, as_json: bool
) -> None:
    """Make a variant of the image REFERENCE whose layers are zstd, and bring it upstream.

    The image has to be here. It stays as it is, and the variant is the same image with other layers, found among its
    referrers, under its tag with `-zstd` behind it, or in an index under its own tag. It is made at once, whatever else
    the host is doing, and whatever it gains; when this command is interrupted nothing of it stays.

    Exit code 1: there is nothing to convert in it, or a layer is not what it should be.
    """
    query = [("image", reference)]
    query += [("level", str(level))] if level else []
    query += [("mode", mode)] if mode else []
    address = socket_of(path, socket)
    with complaining(address), events(address, Question("/convert", query, "POST")) as told, _bar(reference) as tell:
        made = _follow(told, tell)
    if made["reason"]:
        fail(f"{reference}: {made['reason']}")
    if as_json:
        show_json({name: value for name, value in made.items() if name != "reason"})
    else:
        show(_line(made))


def _follow(told: Iterator[tuple[str, Any]], tell: _Tell) -> dict[str, Any]:
    """Follow a conversion to its end. Raises RefusedError: it did not get there."""
    for event, data in told:
        if event == "ending":
            ending: dict[str, Any] = data
            return ending
        tell(data)
    raise RefusedError("it was broken off: the daemon is gone")


def _line(made: dict[str, Any]) -> str:
    before, after = made["bytes"]["before"], made["bytes"]["after"]
    return f"{made['variant']}: {size(after)} instead of {size(before)}, {1 - after / before:.0%} smaller"


@contextmanager
def _bar(reference: str) -> Iterator[_Tell]:
    """A progress bar, where somebody looks."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn  # noqa: PLC0415 - see `console`

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True))
    with Progress(*columns, console=console(), transient=True, disable=not is_terminal()) as progress:
        task = progress.add_task(reference, total=None)
        yield lambda data: progress.update(task, completed=data["bytes"]["done"], total=data["bytes"]["of"] or None)
