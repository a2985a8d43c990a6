"""`registry-mirror check`: whether the journal and containerd agree."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from mirror.cli.admin import Question, RefusedError, complaining, events, socket_of, socket_option
from mirror.cli.exits import FAILED
from mirror.cli.options import config_option
from mirror.cli.screen import Mood, Ticker, Words, show, show_json, size


@click.command()
@click.option("--repair", is_flag=True, help="Mend what is found.")
@click.option(
    "--deep", is_flag=True, help="Read all content that any repository holds, and compare it with its digest."
)
@click.option("--json", "as_json", is_flag=True, help="Print each finding as a line of JSON.")
@config_option
@socket_option
def check(path: Path, socket: Path | None, *, repair: bool, deep: bool, as_json: bool) -> None:
    """Compare the journal with containerd, and say what does not fit: a line for each finding, and a summary.

    The daemon does the same, with --repair, at its start, after changes in containerd and every few minutes; but never
    with --deep, for which it reads from the disk for as long as it takes.

    Exit code 0: all is well, or mended. 1: there are findings that are not mended.
    """
    query = [(name, "true") for name, is_wanted in (("repair", repair), ("deep", deep)) if is_wanted]
    address = socket_of(path, socket)
    with complaining(address), events(address, Question("/check", query, "POST")) as told:
        findings = _follow(told, as_json=as_json)
    left = sum(not finding["mended"] for finding in findings)
    if not as_json:
        show(f"{len(findings)} findings, {len(findings) - left} mended" if findings else "nothing was found")
    if left:
        sys.exit(FAILED)


def _follow(told: Iterator[tuple[str, Any]], *, as_json: bool) -> list[dict[str, Any]]:
    """Follow a check to its end, and return what it found; RefusedError when it did not get there."""
    findings: list[dict[str, Any]] = []
    with Ticker() as ticker:
        for event, data in told:
            if event == "progress":
                ticker.tell(f"{data['blobs']} blobs, {size(data['bytes'])} read")
            elif event == "finding":
                ticker.clear()
                findings.append(data)
                show_json(data, line=True) if as_json else show(_line(data))
            elif data["reason"]:
                raise RefusedError(f"the check was broken off: {data['reason']}")
            else:
                return findings
    raise RefusedError("the check was broken off: the daemon is gone")


def _line(finding: dict[str, Any]) -> Words:
    ending = " (mended)" if finding["mended"] else f" (not mended: {finding['reason']})" if finding["reason"] else ""
    return Words(
        f"{finding['kind']}: {finding['subject']}: {finding['detail']}{ending}",
        Mood.GOOD if finding["mended"] else Mood.BAD,
    )
