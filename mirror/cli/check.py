"""`registry-mirror check`: whether the journal and containerd agree."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from mirror.cli.admin import FAILED, Question, answer, run, socket_option
from mirror.cli.options import config_option, settings_or_exit


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
    socket = socket or settings_or_exit(path).admin.socket
    findings = run(_check(socket, Question("/check", query, "POST"), as_json=as_json))
    left = sum(not finding["mended"] for finding in findings)
    if not as_json:
        click.echo(f"{len(findings)} findings, {len(findings) - left} mended" if findings else "nothing was found")
    if left:
        sys.exit(FAILED)


async def _check(socket: Path, question: Question, *, as_json: bool) -> list[dict[str, Any]]:
    """Follow a check to its end, and return what it found. Raises ValueError when it did not get there."""
    event = ""
    findings: list[dict[str, Any]] = []
    async with answer(socket, question) as response:
        async for line in response.content:
            field, _, value = line.decode().strip().partition(": ")
            if field == "event":
                event = value
            elif field == "data" and event == "finding":
                findings.append(json.loads(value))
                click.echo(value if as_json else _line(findings[-1]))
            elif field == "data" and event == "progress":
                _show(json.loads(value))
            elif field == "data":
                return _end(json.loads(value)["reason"], findings)
    raise ValueError("the daemon broke off")


def _line(finding: dict[str, Any]) -> str:
    ending = " (mended)" if finding["mended"] else f" (not mended: {finding['reason']})" if finding["reason"] else ""
    return f"{finding['kind']}: {finding['subject']}: {finding['detail']}{ending}"


def _show(progress: dict[str, int]) -> None:
    if sys.stderr.isatty():
        click.echo(f"{progress['blobs']} blobs, {progress['bytes']} bytes read", err=True)


def _end(reason: str, findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if reason:
        raise ValueError(f"the check was broken off: {reason}")
    return findings
