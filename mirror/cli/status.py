"""`registry-mirror status`: where everything stands, or one image."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mirror.cli.admin import Question, ask_at, complaining, socket_of, socket_option
from mirror.cli.complete import images
from mirror.cli.options import config_option, json_option
from mirror.cli.overview import overview, without_figures
from mirror.cli.screen import Block, Facts, show, show_json
from mirror.cli.tasks import image_facts
from mirror.cli.watch import watch


@click.command()
@click.argument("reference", metavar="[REFERENCE]", required=False, shell_complete=images)
@click.option("--watch", "is_watching", is_flag=True, help="Go on until Ctrl-C: once a second, in a pipe each change.")
@json_option
@config_option
@socket_option
def status(reference: str | None, path: Path, socket: Path | None, *, is_watching: bool, as_json: bool) -> None:
    """Say where the image REFERENCE stands; without it how everything does, and what holds images up.

    Without REFERENCE: whether pushes are taken, and why not; upstreams that are away; containerd and how blobs get
    into it; how full the disks are; how many tasks there are of each kind, those that are not over, and why attempts
    failed of late. With --watch --json each change is a line of JSON.
    """
    address = socket_of(path, socket)
    question = Question("/status", [("image", reference)] if reference else [])
    blocks = _one_image if reference else overview
    if is_watching:
        watch(address, question, blocks, without_figures, as_json=as_json)
        return
    with complaining(address):
        answer = ask_at(address, question)
    if as_json:
        show_json(answer)
    else:
        show(*blocks(answer))


Blocks = Callable[[dict[str, Any]], list[Block]]


def _one_image(answer: dict[str, Any]) -> list[Block]:
    return [Facts(image_facts(answer))]
