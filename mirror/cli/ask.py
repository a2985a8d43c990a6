"""`registry-mirror status` and `wait`: questions to the running daemon, over its admin socket."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
import click

from mirror.cli.options import config_option, settings_or_exit

_FAILED = 1
_TIMED_OUT = 3
_UNFINISHED = frozenset({"pending", "running"})

_socket_option = click.option(
    "--socket", type=click.Path(path_type=Path), help="The admin socket, instead of the one in the settings."
)


@click.command()
@config_option
@_socket_option
@click.option("--json", "as_json", is_flag=True, help="Print the daemon's answer as it is.")
def status(path: Path, socket: Path | None, *, as_json: bool) -> None:
    """Say how many images are on their way, and what holds them up."""
    answer = _ask(path, socket, "/status", {})
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    for kind, counts in answer["counts"].items():
        click.echo(f"{kind}: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    for task in answer["tasks"]:
        click.echo(f"{task['state']:8} {task['kind']:9} {task['image']} {task['reason']}".rstrip())


@click.command()
@click.argument("reference")
@click.option("--for", "goal", type=click.Choice(["unpacked", "replicated"]), required=True, help="What to wait for.")
@click.option("--timeout", type=click.FloatRange(min=0), default=60.0, show_default=True, help="Seconds.")
@config_option
@_socket_option
def wait(reference: str, goal: str, timeout: float, path: Path, socket: Path | None) -> None:
    """Wait until the image REFERENCE is unpacked or replicated.

    Exit code 0: it is. 1: it will not be without help, or no such image was pushed. 3: not in time.
    """
    answer = _ask(path, socket, "/wait", {"image": reference, "for": goal, "timeout": str(timeout)})
    line = f"{answer['image']}@{answer['digest']}: {answer['kind']} {answer['state']}"
    click.echo(f"{line} ({answer['reason']})" if answer["reason"] else line)
    if answer["state"] in _UNFINISHED:
        sys.exit(_TIMED_OUT)
    if not answer["reached"]:
        sys.exit(_FAILED)


def _ask(path: Path, socket: Path | None, endpoint: str, query: dict[str, str]) -> Any:  # noqa: ANN401 - it is JSON
    """One question; whatever keeps the daemon from answering it is a line and exit code 1."""
    try:
        return asyncio.run(_get(socket or settings_or_exit(path).admin.socket, endpoint, query))
    except (aiohttp.ClientError, OSError, ValueError) as error:
        click.echo(f"registry-mirror: {error}", err=True)
        sys.exit(_FAILED)


async def _get(socket: Path, endpoint: str, query: dict[str, str]) -> object:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket)), timeout=timeout) as session,
        session.get(f"http://registry-mirror{endpoint}", params=query) as answer,
    ):
        body = await answer.json()
        if not answer.ok:
            raise ValueError("; ".join(f"{e['code']}: {e['message']}: {e['detail']}" for e in body["errors"]))
        return body
