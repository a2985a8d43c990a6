"""Jobs and their tasks in words, for `status` and `jobs`."""

import re
from collections.abc import Iterable
from typing import Any

from mirror.cli.screen import Block, Cell, Facts, Mood, Table, Words, moment, since, size, until

_MOODS = {"parked": Mood.BAD, "running": Mood.GOOD, "cancelled": Mood.QUIET}

_HEADINGS = ("JOB", "STATE", "TASK", "FAILED", "AGE", "IMAGE", "REASON")
_REQUEST = re.compile(r"([A-Z]+ \S+): (.+)")
_MOMENTS = (
    "first_byte",
    "last_byte",
    "acknowledged",
    "unpack_begun",
    "unpacked",
    "replication_begun",
    "replicated",
)


def tasks_table(tasks: Iterable[dict[str, Any]]) -> Table:
    """A row for each task: whose it is, how it stands, and why."""
    return Table(_HEADINGS, [_row(task, task["reason"]) for task in tasks], is_stacked=True)


def brief_table(tasks: Iterable[dict[str, Any]]) -> Table:
    """The same where there is not room for all: what a request failed with comes before the request."""
    return Table(_HEADINGS, [_row(task, words_first(task["reason"])) for task in tasks], is_stacked=True, is_brief=True)


def words_first(reason: str) -> str:
    """What a request failed with, and then which request."""
    return _REQUEST.sub(r"\2 (\1)", reason)


def mood_of(task: dict[str, Any]) -> Mood | None:
    """What the state of a task says: that it needs a person, that it failed and waits, that it goes on."""
    return Mood.BUSY if task["state"] == "pending" and task["attempts"] else _MOODS.get(task["state"])


def _row(task: dict[str, Any], reason: str) -> list[str | Words]:
    mood = mood_of(task)
    return [
        str(task["job"]),
        Words(task["state"], mood),
        task["kind"],
        str(task["attempts"]),
        since(task["created"]),
        task["image"],
        Words(reason, mood),
    ]


def job_blocks(job: dict[str, Any]) -> list[Block]:
    """Everything that there is to say of one job."""
    held = [("media type", job["media_type"]), ("lease", job["lease"])]
    return [Facts([*image_facts(job), *held, *_timeline(job)]), "", _tasks_of(job["tasks"])]


def _timeline(job: dict[str, Any]) -> list[tuple[str, Cell]]:
    """When what was reached, and how long after the first of it; and what came for it, and what was here already."""
    told = job["timeline"]
    times = {name: told[name] for name in _MOMENTS if told[name]}
    first = min(times.values(), default=0.0)
    moments = [(name.replace("_", " "), f"{moment(unix)} (+{unix - first:.3g} s)") for name, unix in times.items()]
    blobs = [(name, told[name]) for name in ("sent", "present") if told[name]]
    return [*moments, *((name, f"{each['blobs']} blobs, {size(each['bytes'])}") for name, each in blobs)]


def _tasks_of(tasks: Iterable[dict[str, Any]]) -> Table:
    rows = [
        [
            task["kind"],
            Words(task["state"], mood_of(task)),
            str(task["attempts"]),
            until(task["not_before"]) if task["state"] == "pending" and task["not_before"] else "-",
            Words(task["reason"], mood_of(task)),
        ]
        for task in tasks
    ]
    return Table(["TASK", "STATE", "FAILED", "NEXT TRY", "REASON"], rows)


def image_facts(status: dict[str, Any]) -> list[tuple[str, Cell]]:
    """What there is to say of one image."""
    unpack, next_try = status["unpack"], status["next_try"]
    mood = PHASES.get(status["phase"])
    return [
        ("image", status["image"]),
        ("digest", status["digest"]),
        ("phase", Words(status["phase"], mood)),
        ("sent", f"{size(status['bytes']['done'])} of {size(status['bytes']['of'])}" if status["bytes"] else ""),
        ("reason", Words(status["reason"], mood)),
        ("attempts", str(status["attempts"] or "")),
        ("next try", f"{moment(next_try)} ({until(next_try)})" if next_try else ""),
        ("unpack", Words(_unpack(unpack), _MOODS.get(unpack["state"])) if unpack else ""),
        ("job", str(status["job"])),
        ("pushed", f"{moment(status['created'])} ({since(status['created'])} ago)"),
    ]


PHASES = {
    "parked": Mood.BAD,
    "not runnable": Mood.BAD,
    "replicating": Mood.BUSY,
    "deleting": Mood.BUSY,
    "replicated": Mood.GOOD,
    "deleted": Mood.GOOD,
    "cancelled": Mood.QUIET,
}
"""What the phase of an image says."""


def _unpack(unpack: dict[str, Any]) -> str:
    layers, amount = unpack["layers"], unpack["bytes"]
    if not layers:
        return f"{unpack['state']} {unpack['reason']}".rstrip()
    sizes = f"{size(amount['done'])} of {size(amount['of'])}"
    return f"{unpack['state']}, {layers['done']} of {layers['of']} layers ({sizes})"
