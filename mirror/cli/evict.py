"""`registry-mirror evict`: room on the disk."""

import sys
from pathlib import Path
from typing import Any

import click

from mirror.cli.admin import Question, ask, socket_option
from mirror.cli.exits import FAILED
from mirror.cli.options import config_option, json_option
from mirror.cli.screen import Block, Mood, Ticker, Words, show, show_json


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--bytes", "wanted", type=click.IntRange(min=1), help="So many, beyond what the settings say.")
@click.option("--all", "everything", is_flag=True, help="All that may go.")
@json_option
@config_option
@socket_option
def evict(
    path: Path, socket: Path | None, wanted: int | None, *, dry_run: bool, everything: bool, as_json: bool
) -> None:
    """Remove the images here that the settings no longer keep; with --bytes or --all more.

    Those go first that were not used for longest, only what is verified upstream, and nothing that a container was made
    from. Exit code 1: less than --bytes may go.
    """
    if wanted and everything:
        raise click.UsageError("Give --bytes or --all.")
    query = [("dry_run", "1")] if dry_run else []
    query += [("bytes", str(wanted))] if wanted else []
    query += [("all", "1")] if everything else []
    with Ticker() as ticker:
        ticker.tell("taking stock of what is here, and letting go …")
        answer = ask(path, socket, Question("/evict", query, "POST"))
    if as_json:
        show_json(answer)
    else:
        show(*_lines(answer, dry_run=dry_run))
    if wanted and answer["bytes"] < wanted:
        sys.exit(FAILED)


def _lines(answer: dict[str, Any], *, dry_run: bool) -> list[Block]:
    gone = "would go" if dry_run else "gone"
    freed = "" if dry_run else f", {answer['freed']} more free on the disk"
    return [
        *(f"{gone}: {image}: {going['reason']}" for going in answer["evicted"] for image in going["images"]),
        *(Words(f"kept: {kept['image']}: {', '.join(kept['reasons'])}", Mood.QUIET) for kept in answer["kept"]),
        f"{answer['bytes']} bytes of content{freed}",
    ]
