"""`registry-mirror jobs`: what is on its way upstream, and what to do about what does not get there."""

import sys
from pathlib import Path
from typing import Any

import click

from mirror.cli.admin import Question, ask, ask_at, complaining, socket_of, socket_option
from mirror.cli.complete import job_ids
from mirror.cli.exits import FAILED
from mirror.cli.follow import follow_all, follow_one
from mirror.cli.options import config_option, json_option
from mirror.cli.screen import note, show, show_json
from mirror.cli.tasks import job_blocks, tasks_table
from mirror.cli.watch import until_interrupted
from mirror.core.jobs import State

_BAD_USAGE = "Give the ids of jobs, or --all."


@click.group()
def jobs() -> None:
    """See what is on its way upstream, and act on it."""


@jobs.command("list")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Instead of all that are not over.")
@click.option("--follow", is_flag=True, help="Then tell each change of any job, until Ctrl-C.")
@json_option
@config_option
@socket_option
def list_jobs(state: str | None, path: Path, socket: Path | None, *, follow: bool, as_json: bool) -> None:
    """List what is to be done for each job, oldest first: id, state, kind, failed attempts, age, image and reason.

    With --follow and --json, the list and each change are a line of JSON.
    """
    address = socket_of(path, socket)
    with complaining(address):
        answer = ask_at(address, Question("/jobs", [("state", state)] if state else []))
        if as_json:
            show_json(answer, line=follow)
        else:
            show(tasks_table(answer["tasks"]))
        if answer["more"]:
            note("… and more")
        if follow:
            with until_interrupted():
                follow_all(address, as_json=as_json)


@jobs.command("show")
@click.argument("job", metavar="ID", type=click.IntRange(min=1), shell_complete=job_ids)
@click.option("--follow", is_flag=True, help="Tell each change of it, until there are no more.")
@json_option
@config_option
@socket_option
def show_job(job: int, path: Path, socket: Path | None, *, follow: bool, as_json: bool) -> None:
    """Show everything that is known of the job ID: its image, each of its tasks, and why the last attempt failed.

    Exit code 1: there is no such job; with --follow also that it was parked or cancelled.
    """
    address = socket_of(path, socket)
    with complaining(address):
        if follow:
            sys.exit(follow_one(address, job, as_json=as_json))
        answer = ask_at(address, Question(f"/jobs/{job}"))
    if as_json:
        show_json(answer)
    else:
        show(*job_blocks(answer))


@jobs.command()
@click.argument("ids", metavar="[ID]...", type=click.IntRange(min=1), nargs=-1, shell_complete=job_ids)
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
@click.argument("ids", metavar="ID...", type=click.IntRange(min=1), nargs=-1, required=True, shell_complete=job_ids)
@json_option
@config_option
@socket_option
def cancel(ids: tuple[int, ...], path: Path, socket: Path | None, *, as_json: bool) -> None:
    """Give jobs up for good that are parked, or wait for their next attempt: they will not get upstream.

    Or the making of a variant, also in the middle.

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
