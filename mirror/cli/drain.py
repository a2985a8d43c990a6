"""`registry-mirror drain`: before a maintenance."""

import json
import sys
from pathlib import Path

import click

from mirror.cli.admin import FAILED, TIMED_OUT, Question, answer, run, socket_option
from mirror.cli.options import config_option, settings_or_exit

_EXIT = {"drained": 0, "parked": FAILED, "stopping": FAILED, "timeout": TIMED_OUT}


@click.command()
@click.option("--timeout", type=click.FloatRange(min=0), default=300.0, show_default=True, help="Seconds.")
@click.option("--undo", is_flag=True, help="Take pushes again after a drain.")
@config_option
@socket_option
def drain(timeout: float, path: Path, socket: Path | None, *, undo: bool) -> None:
    """Refuse new pushes, and wait until everything that was pushed is upstream.

    Exit code 0: all of it is. 1: all but what is parked, which needs a person. After both, pushes go on being refused
    until the daemon is restarted, or `drain --undo`. 3: not in time; then, and when this command is interrupted, pushes
    are taken again.
    """
    socket = socket or settings_or_exit(path).admin.socket
    if undo:
        run(_undo(socket))
    else:
        sys.exit(run(_drain(socket, timeout)))


async def _undo(socket: Path) -> None:
    async with answer(socket, Question("/drain", method="DELETE")):
        click.echo("new pushes are taken again")


async def _drain(socket: Path, seconds: float) -> int:
    """Follow a drain to its end, and return the exit code that it means."""
    event = ""
    backlog: dict[str, int] = {}
    async with answer(socket, Question("/drain", [("timeout", str(seconds))], "POST")) as response:
        async for line in response.content:
            field, _, value = line.decode().strip().partition(": ")
            if field == "event":
                event = value
            elif field == "data" and event == "backlog":
                backlog = json.loads(value)
                _show(backlog)
            elif field == "data":
                return _end(json.loads(value)["ending"], backlog)
    raise ValueError("the daemon broke off")


def _show(backlog: dict[str, int]) -> None:
    if sys.stdout.isatty():
        click.echo(_left(backlog))


def _left(backlog: dict[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in backlog.items())


def _end(ending: str, backlog: dict[str, int]) -> int:
    words = {
        "drained": "drained; new pushes are refused",
        "parked": f"drained but for {backlog['parked']} parked tasks; new pushes are refused",
        "timeout": f"not in time: {_left(backlog)}; new pushes are taken again",
        "stopping": "the daemon is stopping",
    }
    click.echo(words[ending])
    return _EXIT[ending]
