"""`registry-mirror status` and `wait`: questions to the running daemon."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from mirror.cli.admin import FAILED, TIMED_OUT, Question, ask, socket_option
from mirror.cli.options import config_option

_UNFINISHED = frozenset({"pending", "running"})
_KIB = 1024


@click.command()
@click.argument("reference", required=False)
@config_option
@socket_option
@click.option("--json", "as_json", is_flag=True, help="Print the daemon's answer as it is.")
def status(reference: str | None, path: Path, socket: Path | None, *, as_json: bool) -> None:
    """Say where the image REFERENCE stands; without it how many images are on their way, and what holds them up."""
    query = [("image", reference)] if reference else []
    answer = ask(path, socket, Question("/status", query))
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif reference:
        _print_image(answer)
    else:
        _print_all(answer)


@click.command()
@click.argument("reference")
@click.option("--for", "goal", type=click.Choice(["unpacked", "replicated"]), required=True, help="What to wait for.")
@click.option("--timeout", type=click.FloatRange(min=0), default=60.0, show_default=True, help="Seconds.")
@config_option
@socket_option
def wait(reference: str, goal: str, timeout: float, path: Path, socket: Path | None) -> None:
    """Wait until the image REFERENCE is unpacked or replicated.

    Exit code 0: it is. 1: it will not be without help, or no such image was pushed. 3: not in time.
    """
    query = [("image", reference), ("for", goal), ("timeout", str(timeout))]
    answer = ask(path, socket, Question("/wait", query))
    line = f"{answer['image']}@{answer['digest']}: {answer['kind']} {answer['state']}"
    click.echo(f"{line} ({answer['reason']})" if answer["reason"] else line)
    if answer["state"] in _UNFINISHED:
        sys.exit(TIMED_OUT)
    if not answer["reached"]:
        sys.exit(FAILED)


def _print_all(answer: dict[str, Any]) -> None:
    for reason in answer["not_ready"]:
        click.echo(f"no pushes are taken: {reason}")
    for name, upstream in answer["upstreams"].items():
        if upstream["state"] != "ok":
            click.echo(f"upstream {name} is {upstream['state']}: {upstream['reason']}")
    for kind, counts in answer["counts"].items():
        click.echo(f"{kind}: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    for task in answer["tasks"]:
        click.echo(f"{task['state']:8} {task['kind']:9} {task['image']} {task['reason']}".rstrip())


def _print_image(answer: dict[str, Any]) -> None:
    """A line for everything that there is to say of one image."""
    sent, unpack = answer["bytes"], answer["unpack"]
    lines = {
        "image": answer["image"],
        "digest": answer["digest"],
        "phase": answer["phase"],
        "sent": sent and f"{_size(sent['done'])} of {_size(sent['of'])}",
        "reason": answer["reason"],
        "attempts": answer["attempts"],
        "next try": answer["next_try"] and _time(answer["next_try"]),
        "unpack": unpack and f"{unpack['state']} {unpack['reason']}".rstrip(),
        "job": answer["job"],
        "pushed": _time(answer["created"]),
    }
    for name, value in lines.items():
        if value:
            click.echo(f"{name + ':':10}{value}")


def _size(amount: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "KiB", "MiB"):
        if amount < _KIB:
            return f"{amount:.4g} {unit}"
        amount /= _KIB
    return f"{amount:.4g} GiB"


def _time(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
