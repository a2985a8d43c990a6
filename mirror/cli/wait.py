"""`registry-mirror wait`: until images are where someone needs them."""

import sys
import time  # noqa: TID251 - a command is told no clock
from pathlib import Path
from typing import Any

import click

from mirror.cli.admin import Question, ask_at, complaining, socket_of, socket_option
from mirror.cli.complete import images
from mirror.cli.exits import FAILED, FINE, TIMED_OUT
from mirror.cli.options import config_option, json_option
from mirror.cli.screen import Ticker, show, show_json, size

_UNFINISHED = frozenset({"pending", "running"})
_LOOK_EVERY = 1.0


@click.command()
@click.argument("references", metavar="REFERENCE...", nargs=-1, required=True, shell_complete=images)
@click.option("--for", "goal", type=click.Choice(["unpacked", "replicated"]), required=True, help="What to wait for.")
@click.option("--timeout", type=click.FloatRange(min=0), default=60.0, show_default=True, help="Seconds, for all.")
@json_option
@config_option
@socket_option
def wait(
    references: tuple[str, ...], goal: str, timeout: float, path: Path, socket: Path | None, *, as_json: bool
) -> None:
    """Wait until each image REFERENCE is unpacked or replicated, and print a line for each.

    Exit code 0: all are. 1: one will not be without help, or no such image was pushed. 3: not in time.
    """
    address, deadline = socket_of(path, socket), time.monotonic() + timeout
    codes = {FINE}
    for reference in references:
        with complaining(address), Ticker() as ticker:
            answer = _wait(address, reference, goal, deadline, ticker)
        if as_json:
            show_json(answer, line=True)
        else:
            show(_line(answer))
        codes.add(_code(answer))
    sys.exit(FAILED if FAILED in codes else max(codes))


def _wait(socket: Path, reference: str, goal: str, deadline: float, ticker: Ticker) -> dict[str, Any]:
    """Wait in one go, or in short ones where somebody is to be told how far it has come meanwhile."""
    image = ("image", reference)
    while True:
        left = max(deadline - time.monotonic(), 0.0)
        seconds = min(left, _LOOK_EVERY) if ticker.is_seen else left
        answer: dict[str, Any] = ask_at(socket, Question("/wait", [image, ("for", goal), ("timeout", str(seconds))]))
        if answer["state"] not in _UNFINISHED or seconds == left:
            return answer
        ticker.tell(_progress(ask_at(socket, Question("/status", [image]))))


def _progress(status: dict[str, Any]) -> str:
    sent, unpack = status["bytes"], status["unpack"]
    words = [status["image"], status["phase"]]
    words += [f"{size(sent['done'])} of {size(sent['of'])}"] if sent else []
    words += [f"unpack {unpack['state']}"] if unpack else []
    layers = unpack and unpack["layers"]
    words += [f"{layers['done']} of {layers['of']} layers"] if layers else []
    return ", ".join([*words, *([status["reason"]] if status["reason"] else [])])


def _line(answer: dict[str, Any]) -> str:
    line = f"{answer['image']}@{answer['digest']}: {answer['kind']} {answer['state']}"
    return f"{line} ({answer['reason']})" if answer["reason"] else line


def _code(answer: dict[str, Any]) -> int:
    if answer["state"] in _UNFINISHED:
        return TIMED_OUT
    return FINE if answer["reached"] else FAILED
