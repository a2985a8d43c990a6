"""`registry-mirror jobs`: what is on its way upstream, and what to do about what does not get there."""

import sys
from pathlib import Path
from typing import Any

import click

from mirror.cli.admin import Question, ask, socket_option
from mirror.cli.exits import FAILED
from mirror.cli.options import config_option, json_option
from mirror.cli.screen import note, show, show_json
from mirror.cli.tasks import tasks_table
from mirror.core.jobs import State

_BAD_USAGE = "Give the ids of jobs, or --all."


@click.group()
def jobs() -> None:
    """See what is on its way upstream, and act on it."""


@jobs.command("list")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Instead of all that are not over.")
@json_option
@config_option
@socket_option
def list_jobs(state: str | None, path: Path, socket: Path | None, *, as_json: bool) -> None:
    """List what is to be done for each job, oldest first: id, state, kind, failed attempts, image and reason."""
    answer = ask(path, socket, Question("/jobs", [("state", state)] if state else []))
    if as_json:
        show_json(answer)
        return
    show(tasks_table(answer["tasks"]))
    if answer["more"]:
        note("… and more")


@jobs.command()
@click.argument("ids", type=click.IntRange(min=1), nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every job that waits or is parked.")
@json_option
@config_option
@socket_option
def retry(ids: tuple[int, ...], path: Path, socket: Path | None, *, everything: bool, as_json: bool) -> None:
    """Try jobs again now that are parked, or wait for their next attempt.

    Exit code 1: at least one has nothing to be tried again, or is under way.
    """
    if bool(ids) == everything:
        raise click.UsageError(_BAD_USAGE)
    question = Question("/jobs/retry", [("all", "true")] if everything else _query(ids), "POST")
    _tell(ask(path, socket, question), "due now", as_json=as_json)


@jobs.command()
@click.argument("ids", type=click.IntRange(min=1), nargs=-1, required=True)
@json_option
@config_option
@socket_option
def cancel(ids: tuple[int, ...], path: Path, socket: Path | None, *, as_json: bool) -> None:
    """Give jobs up for good that are parked, or wait for their next attempt: they will not get upstream.

    Exit code 1: at least one was over, or is under way.
    """
    _tell(ask(path, socket, Question("/jobs/cancel", _query(ids), "POST")), "cancelled", as_json=as_json)


def _query(ids: tuple[int, ...]) -> list[tuple[str, str]]:
    return [("job", str(job)) for job in ids]


def _tell(answer: dict[str, Any], done: str, *, as_json: bool) -> None:
    verdicts = answer["jobs"]
    if as_json:
        show_json(answer)
    else:
        show(*(f"{one['job']}: {one['refusal'] or ' and '.join(one['tasks']) + ' ' + done}" for one in verdicts))
    if any(one["refusal"] for one in verdicts):
        sys.exit(FAILED)
