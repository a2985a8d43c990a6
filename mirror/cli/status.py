"""`registry-mirror status`: where everything stands, or one image."""

from pathlib import Path
from typing import Any

import click

from mirror.cli.admin import Question, ask, socket_option
from mirror.cli.options import config_option, json_option
from mirror.cli.screen import Block, Facts, Mood, Words, moment, show, show_json, size
from mirror.cli.tasks import tasks_table


@click.command()
@click.argument("reference", required=False)
@json_option
@config_option
@socket_option
def status(reference: str | None, path: Path, socket: Path | None, *, as_json: bool) -> None:
    """Say where the image REFERENCE stands; without it how many images are on their way, and what holds them up."""
    query = [("image", reference)] if reference else []
    answer = ask(path, socket, Question("/status", query))
    if as_json:
        show_json(answer)
    else:
        show(*([image_facts(answer)] if reference else overview(answer)))


def overview(answer: dict[str, Any]) -> list[Block]:
    """All there is to say, what holds things up first."""
    return [
        *(Words(f"no pushes are taken: {reason}", Mood.BAD) for reason in answer["not_ready"]),
        *(
            f"upstream {name} is {upstream['state']}: {upstream['reason']}"
            for name, upstream in answer["upstreams"].items()
            if upstream["state"] != "ok"
        ),
        *(
            f"{kind}: " + ", ".join(f"{count} {state}" for state, count in counts.items())
            for kind, counts in answer["counts"].items()
        ),
        tasks_table(answer["tasks"]),
    ]


def image_facts(answer: dict[str, Any]) -> Facts:
    """A line for everything that there is to say of one image."""
    sent, unpack = answer["bytes"], answer["unpack"]
    return Facts(
        [
            ("image", answer["image"]),
            ("digest", answer["digest"]),
            ("phase", answer["phase"]),
            ("sent", f"{size(sent['done'])} of {size(sent['of'])}" if sent else ""),
            ("reason", answer["reason"]),
            ("attempts", str(answer["attempts"] or "")),
            ("next try", moment(answer["next_try"]) if answer["next_try"] else ""),
            ("unpack", _unpack(unpack) if unpack else ""),
            ("job", str(answer["job"])),
            ("pushed", moment(answer["created"])),
        ]
    )


def _unpack(unpack: dict[str, Any]) -> str:
    layers, amount = unpack["layers"], unpack["bytes"]
    if not layers:
        return f"{unpack['state']} {unpack['reason']}".rstrip()
    sizes = f"{size(amount['done'])} of {size(amount['of'])}"
    return f"{unpack['state']}, {layers['done']} of {layers['of']} layers ({sizes})"
