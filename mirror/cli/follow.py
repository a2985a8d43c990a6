"""Following jobs as they go: bars at a terminal, lines in a pipe."""

import time  # noqa: TID251 - a command is told no clock
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirror.cli.admin import Question, RefusedError, ask_at, events
from mirror.cli.exits import FAILED, FINE
from mirror.cli.screen import Words, console, is_terminal, rendered, show, show_json, size, words
from mirror.cli.tasks import PHASES

if TYPE_CHECKING:
    from rich.console import RenderableType

_UNDER_WAY = frozenset({"pending", "running"})
_WELL = frozenset({"replicated", "deleted"})
_OVER = _WELL | {"parked", "cancelled"}
_BAR = 24
_EVERY = 1.0
_LINES_OF_ONE = 3

Status = dict[str, Any]
Tell = Callable[[Status], None]


def follow_all(socket: Path, *, as_json: bool) -> None:
    """Tell each change of any job. Raises RefusedError when the daemon ends."""
    with events(socket, Question("/events")) as told, _teller(as_json=as_json) as tell:
        for _, status in told:
            tell(status)
    raise RefusedError("the daemon is stopping")


def follow_one(socket: Path, job: int, *, as_json: bool) -> int:
    """Tell each change of a job until there are no more; returns the exit code that its end means.

    It is asked for, as events are those of the oldest thousand jobs, and tell nothing of one in whose place a later
    push came.

    Raises:
        RefusedError: there is no such job, or not any more.
    """
    question = Question(f"/jobs/{job}")
    before: Status = {}
    with _teller(as_json=as_json) as tell:
        while True:
            if (status := ask_at(socket, question)) != before:
                tell(status)
            if _is_over(status):
                return FINE if status["phase"] in _WELL else FAILED
            before = status
            time.sleep(_EVERY)


def _is_over(status: Status) -> bool:
    """Whether a job will not change by itself any more."""
    return status["phase"] in _OVER and (not status["unpack"] or status["unpack"]["state"] not in _UNDER_WAY)


def _teller(*, as_json: bool) -> AbstractContextManager[Tell]:
    if as_json:
        return nullcontext(lambda status: show_json(status, line=True))
    return _Bars() if is_terminal() else nullcontext(lambda status: show(_line(status)))


def _line(status: Status) -> Words:
    parts = [str(status["job"]), status["image"], _sending(status), _unpacking(status)]
    return Words("  ".join(part for part in parts if part), PHASES.get(status["phase"]))


def _sending(status: Status) -> str:
    amount = status["bytes"]
    parts = [status["phase"], f"{size(amount['done'])} of {size(amount['of'])}" if amount else "", status["reason"]]
    return " ".join(part for part in parts if part)


def _unpacking(status: Status) -> str:
    unpack = status["unpack"]
    if not unpack:
        return ""
    layers = unpack["layers"]
    done = f"{layers['done']} of {layers['of']} layers" if layers else unpack["reason"]
    return f"unpack {unpack['state']} {done}".rstrip()


class _Bars:
    """What is under way with bars of bytes upstream and bytes unpacked; above it a line for each job that is over."""

    def __init__(self) -> None:
        from rich.live import Live  # noqa: PLC0415 - see `screen.console`

        self._console = console()
        self._live = Live(console=self._console, refresh_per_second=4)
        self._moving: dict[int, Status] = {}

    def __enter__(self) -> Tell:
        self._live.start()
        return self._tell

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def _tell(self, status: Status) -> None:
        if _is_over(status):
            self._moving.pop(status["job"], None)
            self._console.print(rendered([_line(status)], self._console.width))
        else:
            self._moving[status["job"]] = status
        self._live.update(self._drawn())

    def _drawn(self) -> "RenderableType":
        """As many as there is room for, those whose figures change first."""
        from rich.console import Group  # noqa: PLC0415 - see `screen.console`

        moving = sorted(self._moving.values(), key=lambda status: not status["bytes"])
        shown = moving[: max((self._console.height - 2) // _LINES_OF_ONE, 1)]
        rest = [f"… and {len(moving) - len(shown)} more"] if len(shown) < len(moving) else []
        return Group(*(_drawn(status, self._console.width) for status in shown), rendered(rest, self._console.width))


def _drawn(status: Status, width: int) -> "RenderableType":
    from rich.console import Group  # noqa: PLC0415 - see `screen.console`
    from rich.progress_bar import ProgressBar  # noqa: PLC0415 - likewise
    from rich.table import Table  # noqa: PLC0415 - likewise

    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=_BAR)
    grid.add_column(no_wrap=True, overflow="ellipsis")
    unpack = status["unpack"]
    for amount, text in ((status["bytes"], _sending(status)), (unpack and unpack["bytes"], _unpacking(status))):
        if text:
            bar = ProgressBar(amount["of"], amount["done"], width=_BAR) if amount else ""
            grid.add_row(bar, words(text).text)
    return Group(rendered([f"{status['job']}  {status['image']}"], width), grid)
