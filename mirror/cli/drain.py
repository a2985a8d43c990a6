"""`registry-mirror drain`: before a maintenance."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from mirror.cli.admin import Question, RefusedError, ask, complaining, events, socket_of, socket_option
from mirror.cli.exits import FAILED, FINE, TIMED_OUT
from mirror.cli.options import config_option, json_option
from mirror.cli.screen import Ticker, show, show_json

_EXIT = {"drained": FINE, "parked": FAILED, "stopping": FAILED, "timeout": TIMED_OUT}


@click.command()
@click.option("--timeout", type=click.FloatRange(min=0), default=300.0, show_default=True, help="Seconds.")
@click.option("--undo", is_flag=True, help="Take pushes again after a drain.")
@json_option
@config_option
@socket_option
def drain(timeout: float, path: Path, socket: Path | None, *, undo: bool, as_json: bool) -> None:
    """Refuse new pushes, and wait until everything that was pushed is upstream.

    Exit code 0: all of it is. 1: all but what is parked, which needs a person. After both, pushes go on being refused
    until the daemon is restarted, or `drain --undo`. 3: not in time; then, and when this command is interrupted, pushes
    are taken again.

    With --json each change is a line: a `backlog`, and at last an `ending`.
    """
    if undo:
        ask(path, socket, Question("/drain", method="DELETE"))
        show_json({"draining": False}, line=True) if as_json else show("new pushes are taken again")
        return
    address = socket_of(path, socket)
    with complaining(address), events(address, Question("/drain", [("timeout", str(timeout))], "POST")) as told:
        code = _follow_json(told) if as_json else _follow(told)
    sys.exit(code)


def _follow_json(told: Iterator[tuple[str, Any]]) -> int:
    """Print a drain as it goes, to its end; returns the exit code that it means."""
    for event, data in told:
        show_json(data if event == "ending" else {event: data}, line=True)
        if event == "ending":
            return _EXIT[data["ending"]]
    raise RefusedError("the daemon broke off")


def _follow(told: Iterator[tuple[str, Any]]) -> int:
    """The same for a person, who sees what is left for as long as it is."""
    backlog: dict[str, int] = {}
    with Ticker() as ticker:
        for event, data in told:
            if event == "ending":
                ticker.clear()
                show(_words(data["ending"], backlog))
                return _EXIT[data["ending"]]
            backlog = data
            ticker.tell(f"left: {_left(backlog)}")
    raise RefusedError("the daemon broke off")


def _left(backlog: dict[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in backlog.items())


def _words(ending: str, backlog: dict[str, int]) -> str:
    return {
        "drained": "drained; new pushes are refused",
        "parked": f"drained but for {backlog.get('parked', 0)} parked tasks; new pushes are refused",
        "timeout": f"not in time: {_left(backlog)}; new pushes are taken again",
        "stopping": "the daemon is stopping",
    }[ending]
