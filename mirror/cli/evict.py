"""`registry-mirror evict`: room on the disk."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from mirror.cli.admin import FAILED, Question, ask, socket_option
from mirror.cli.options import config_option


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--bytes", "wanted", type=click.IntRange(min=1), help="So many, beyond what the settings say.")
@click.option("--all", "everything", is_flag=True, help="All that may go.")
@click.option("--json", "as_json", is_flag=True, help="Print the daemon's answer as it is.")
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
    answer = ask(path, socket, Question("/evict", query, "POST"))
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        _print(answer, dry_run=dry_run)
    if wanted and answer["bytes"] < wanted:
        sys.exit(FAILED)


def _print(answer: dict[str, Any], *, dry_run: bool) -> None:
    for going in answer["evicted"]:
        for image in going["images"]:
            click.echo(f"{'would go' if dry_run else 'gone'}: {image}: {going['reason']}")
    for kept in answer["kept"]:
        click.echo(f"kept: {kept['image']}: {', '.join(kept['reasons'])}")
    click.echo(
        f"{answer['bytes']} bytes of content" + ("" if dry_run else f", {answer['freed']} more free on the disk")
    )
