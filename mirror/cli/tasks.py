"""Tasks as rows, for `status` and `jobs`."""

from collections.abc import Iterable
from typing import Any

from mirror.cli.screen import Mood, Table, Words, since

_MOODS = {"parked": Mood.BAD, "running": Mood.GOOD, "cancelled": Mood.QUIET}


def tasks_table(tasks: Iterable[dict[str, Any]]) -> Table:
    """A row for each task: whose it is, how it stands, and why."""
    headings = ["JOB", "STATE", "TASK", "FAILED", "AGE", "IMAGE", "REASON"]
    return Table(headings, [_row(task) for task in tasks])


def mood_of(task: dict[str, Any]) -> Mood | None:
    """What the state of a task says: that it needs a person, that it failed and waits, that it goes on."""
    return Mood.BUSY if task["state"] == "pending" and task["attempts"] else _MOODS.get(task["state"])


def _row(task: dict[str, Any]) -> list[str | Words]:
    mood = mood_of(task)
    return [
        str(task["job"]),
        Words(task["state"], mood),
        task["kind"],
        str(task["attempts"]),
        since(task["created"]),
        task["image"],
        Words(task["reason"], mood),
    ]
