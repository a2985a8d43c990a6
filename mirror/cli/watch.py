"""Asking the daemon again and again, for somebody who looks on."""

import json
import time  # noqa: TID251 - a command is told no clock
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mirror.cli.admin import TROUBLES, Question, ask_at, complaining, trouble
from mirror.cli.screen import Block, Mood, Words, console, is_terminal, moment, note, rendered, show, show_json

_EVERY = 1.0

Answer = dict[str, Any]


def watch(
    socket: Path,
    question: Question,
    blocks: Callable[[Answer], list[Block]],
    essence: Callable[[Answer], Answer],
    *,
    as_json: bool,
) -> None:
    """Show the answer until Ctrl-C: at a terminal once a second, in a pipe whenever its `essence` changes.

    A daemon that does not answer at first is exit code 1; one that goes away meanwhile may come back.
    """
    with complaining(socket):
        ask_at(socket, question)
    with until_interrupted():
        if is_terminal() and not as_json:
            _redraw(socket, question, blocks)
        else:
            _print_changes(socket, question, blocks, essence, as_json=as_json)


@contextmanager
def until_interrupted() -> Iterator[None]:
    """Ctrl-C is how it is meant to end."""
    try:
        yield
    except KeyboardInterrupt:
        return


def _redraw(socket: Path, question: Question, blocks: Callable[[Answer], list[Block]]) -> None:
    from rich.live import Live  # noqa: PLC0415 - see `screen.console`

    out = console()
    with Live(console=out, screen=True, auto_refresh=False) as live:
        while True:
            heading = Words(f"{moment(time.time())}, Ctrl-C to leave", Mood.QUIET)
            try:
                told = blocks(ask_at(socket, question))
            except TROUBLES as error:
                told = [Words(trouble(error, socket), Mood.BAD)]
            live.update(rendered([heading, *told], out.width), refresh=True)
            time.sleep(_EVERY)


def _print_changes(
    socket: Path,
    question: Question,
    blocks: Callable[[Answer], list[Block]],
    essence: Callable[[Answer], Answer],
    *,
    as_json: bool,
) -> None:
    before = ""
    while True:
        try:
            answer = ask_at(socket, question)
        except TROUBLES as error:
            if (now := trouble(error, socket)) != before:
                note(f"registry-mirror: {now}")
        else:
            if (now := json.dumps(essence(answer))) != before:
                show_json(answer, line=True) if as_json else show(moment(time.time()), *blocks(answer), "")
        before = now
        time.sleep(_EVERY)
