"""How everything stands on one screen, what needs a person first."""

import os.path
from collections.abc import Callable, Sequence
from shutil import get_terminal_size
from typing import Any

from mirror.cli.screen import Block, Cell, Facts, Mood, Table, Words, is_terminal, since, size
from mirror.cli.tasks import brief_table, mood_of, tasks_table, words_first

_STATES = ("pending", "running", "parked", "done", "skipped", "cancelled")
_URGENCY = (Mood.BAD, Mood.BUSY, Mood.GOOD, None)
_FEWEST = 3
_MOST_FAILURES = 3
# Headings, what stands above them, and the prompt below; a task and a failure take two lines each.
_LINES_ELSEWHERE = 13


def overview(answer: dict[str, Any]) -> list[Block]:
    """The blocks of a `GET /status`: in a pipe all of it, at a terminal what it has room for."""
    is_brief = is_terminal()
    failures = _failures(answer, words_first if is_brief else str)
    failures = failures[:_MOST_FAILURES] if is_brief else failures
    alarms = _alarms(answer)
    tasks = sorted(answer["tasks"], key=lambda task: _URGENCY.index(mood_of(task)))
    room = get_terminal_size().lines - _LINES_ELSEWHERE - len(alarms) - 2 * len(failures)
    shown = tasks[: max(room // 2, _FEWEST)] if is_brief else tasks
    blocks: list[Block] = [*(alarms or [Words("pushes are taken, nothing is stuck", Mood.GOOD)]), _facts(answer)]
    if tasks:
        blocks += ["", Words("not over yet", Mood.TITLE), (brief_table if is_brief else tasks_table)(shown)]
    if len(shown) < len(tasks):
        blocks.append(Words(f"… and {len(tasks) - len(shown)} more: registry-mirror jobs list", Mood.QUIET))
    if failures:
        blocks += [
            "",
            Words("failed of late", Mood.TITLE),
            Table(_HEADINGS, failures, is_stacked=True, is_brief=is_brief),
        ]
    return blocks


_HEADINGS = ("AGO", "TIMES", "TASK", "IMAGE", "REASON")


def without_figures(answer: dict[str, Any]) -> dict[str, Any]:
    """What is left of an answer without what changes all the time, and is no news."""
    return {key: value for key, value in answer.items() if key not in {"disks", "sending"}}


def _alarms(answer: dict[str, Any]) -> list[Words]:
    """What holds images up, or needs a person."""
    parked = sum(counts["parked"] for counts in answer["counts"].values())
    away = ((name, upstream) for name, upstream in answer["upstreams"].items() if upstream["state"] != "ok")
    alarms = [
        *(f"no pushes are taken: {reason}" for reason in answer["not_ready"]),
        *(f"upstream {name} is {one['state']} for {since(one['since'])}: {one['reason']}" for name, one in away),
        *([f"{parked} parked, for a person to see to: registry-mirror jobs list --state parked"] if parked else []),
    ]
    waiting = sum(mood_of(task) is Mood.BUSY for task in answer["tasks"])
    warnings = [f"{waiting} failed, and will be tried again"] if waiting else []
    return [*(Words(alarm, Mood.BAD) for alarm in alarms), *(Words(warning, Mood.BUSY) for warning in warnings)]


def _facts(answer: dict[str, Any]) -> Facts:
    upstreams = [name for name, upstream in answer["upstreams"].items() if upstream["state"] == "ok"]
    counts = {kind: counts for kind, counts in answer["counts"].items() if any(counts.values())}
    return Facts(
        [
            ("containerd", _containerd(answer["containerd"])),
            ("upstream", Words(f"{', '.join(upstreams)} ok", Mood.GOOD) if upstreams else ""),
            *(("disk", _disk(disks)) for disks in _filesystems(answer["disks"])),
            *((kind, _counts(kind, of_kind, answer["sending"])) for kind, of_kind in counts.items()),
            ("oldest", f"pushed {since(answer['tasks'][0]['created'])} ago" if answer["tasks"] else ""),
        ]
    )


def _containerd(told: dict[str, Any]) -> Cell:
    if told["reason"]:
        return Words(told["reason"], Mood.BAD)
    if not told["version"]:
        return Words("not seen yet", Mood.BUSY)
    ways = {None: "not chosen yet", "direct": "direct"}
    way = ways.get(told["import"], f"{told['import']} ({told['import_reason']})")
    return f"{told['version']}, namespace {told['namespace']}, snapshotter {told['snapshotter']}, import {way}"


def _filesystems(disks: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The directories that are on one filesystem, which shows by its figures, together."""
    found: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for disk in disks:
        found.setdefault((disk["total"], disk["free"]), []).append(disk)
    return list(found.values())


def _disk(disks: Sequence[dict[str, Any]]) -> Words:
    """A filesystem; containerd's directories come before the journal's, and have the higher reserve."""
    first, total, free = disks[0], disks[0]["total"], disks[0]["free"]
    percent = round(100 * (total - free) / total) if total else 100
    of = ", ".join(dict.fromkeys(disk["of"] for disk in disks))
    where = os.path.commonpath([disk["directory"] for disk in disks if disk["of"] == first["of"]])
    text = f"{percent}% of {size(total)} used, {size(free)} free, {size(first['reserve'])} in reserve"
    evicts = f", evicts at {first['evict_at']}%" if first["evict_at"] else ""
    is_full = first["evict_at"] and percent > first["evict_at"]
    mood = Mood.BAD if free <= first["reserve"] else Mood.BUSY if is_full else None
    return Words(f"{where} ({of}): {text}{evicts}", mood)


def _counts(kind: str, counts: dict[str, int], sending: dict[str, int]) -> Words:
    parts = [f"{counts[state]} {state}" for state in _STATES if counts[state]]
    if kind == "replicate" and sending["of"]:
        parts.append(f"{size(sending['of'] - sending['done'])} of those running to go")
    return Words(", ".join(parts), Mood.BAD if counts["parked"] else Mood.GOOD if counts["running"] else None)


def _failures(answer: dict[str, Any], words: Callable[[str], str]) -> list[list[Cell]]:
    """A row for each reason of late, the newest first, but for those that stand at the tasks anyway.

    One outage fails everything for one reason.
    """
    told = {(task["job"], task["kind"], task["reason"]) for task in answer["tasks"]}
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in answer["failures"]:
        if (one["job"], one["kind"], one["reason"]) not in told:
            groups.setdefault((one["kind"], one["reason"]), []).append(one)
    return [
        [since(of[0]["time"]), str(len(of)), kind, of[0]["image"], Words(words(reason), mood_of(of[0]))]
        for (kind, reason), of in groups.items()
    ]
