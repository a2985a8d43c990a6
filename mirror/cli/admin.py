"""Talking to the running daemon, over its admin socket."""

import asyncio
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import click

from mirror.cli.options import settings_or_exit

FAILED = 1
TIMED_OUT = 3

_Answer = TypeVar("_Answer")

socket_option = click.option(
    "--socket", type=click.Path(path_type=Path), help="The admin socket, instead of the one in the settings."
)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the daemon."""

    endpoint: str
    query: Sequence[tuple[str, str]] = ()
    method: str = "GET"


def ask(path: Path, socket: Path | None, question: Question) -> Any:  # noqa: ANN401 - it is JSON
    """One question; whatever keeps the daemon from answering it is a line and exit code 1."""

    async def answered() -> object:
        async with answer(socket or settings_or_exit(path).admin.socket, question) as response:
            return await response.json()

    return run(answered())


def run(conversation: Coroutine[None, None, _Answer]) -> _Answer:
    """What a conversation with the daemon comes to; whatever goes wrong on the way is a line and exit code 1."""
    try:
        return asyncio.run(conversation)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        click.echo(f"registry-mirror: {error}", err=True)
        sys.exit(FAILED)


@asynccontextmanager
async def answer(socket: Path, question: Question) -> AsyncIterator[aiohttp.ClientResponse]:
    """The beginning of the daemon's answer. Raises ValueError with the daemon's own words when it refuses."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    url = f"http://registry-mirror{question.endpoint}"
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket)), timeout=timeout) as session,
        session.request(question.method, url, params=question.query) as response,
    ):
        if not response.ok:
            errors = (await response.json())["errors"]
            raise ValueError("; ".join(f"{e['code']}: {e['message']}: {e['detail']}" for e in errors))
        yield response
