"""`registry-mirror jobs`: what is on its way upstream, and what to do about what does not get there."""

import json
import sys
from pathlib import Path

import click

from mirror.cli.admin import FAILED, Question, ask, socket_option
from mirror.cli.options import config_option
from mirror.core.jobs import State

_BAD_USAGE = "Give the ids of jobs, or --all."


@click.group()
def jobs() -> None:
    """See what is on its way upstream, and act on it."""


@jobs.command("list")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Instead of all that are not over.")
@click.option("--json", "as_json", is_flag=True, help="Print the daemon's answer as it is.")
@config_option
@socket_option
def list_jobs(state: str | None, path: Path, socket: Path | None, *, as_json: bool) -> None:
    """List what is to be done for each job, oldest first: id, state, kind, failed attempts, image and reason."""
    answer = ask(path, socket, Question("/jobs", [("state", state)] if state else []))
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    for task in answer["tasks"]:
        line = f"{task['job']:<7} {task['state']:9} {task['kind']:9} {task['attempts']:<3} {task['image']}"
        click.echo(f"{line} {task['reason']}".rstrip())
    if answer["more"]:
        click.echo("… and more", err=True)


@jobs.command()
@click.argument("ids", type=click.IntRange(min=1), nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every job that waits or is parked.")
@config_option
@socket_option
def retry(ids: tuple[int, ...], path: Path, socket: Path | None, *, everything: bool) -> None:
    """Try jobs again now that are parked, or wait for their next attempt.

    Exit code 1: at least one has nothing to be tried again, or is under way.
    """
    if bool(ids) == everything:
        raise click.UsageError(_BAD_USAGE)
    _act(path, socket, "retry", [("all", "true")] if everything else _query(ids))


@jobs.command()
@click.argument("ids", type=click.IntRange(min=1), nargs=-1, required=True)
@config_option
@socket_option
def cancel(ids: tuple[int, ...], path: Path, socket: Path | None) -> None:
    """Give jobs up for good that are parked, or wait for their next attempt: they will not get upstream.

    Exit code 1: at least one was over, or is under way.
    """
    _act(path, socket, "cancel", _query(ids))


def _query(ids: tuple[int, ...]) -> list[tuple[str, str]]:
    return [("job", str(job)) for job in ids]


def _act(path: Path, socket: Path | None, wish: str, query: list[tuple[str, str]]) -> None:
    verdicts = ask(path, socket, Question(f"/jobs/{wish}", query, "POST"))["jobs"]
    done = {"retry": "due now", "cancel": "cancelled"}[wish]
    for verdict in verdicts:
        click.echo(f"{verdict['job']}: {verdict['refusal'] or ' and '.join(verdict['tasks']) + ' ' + done}")
    if any(verdict["refusal"] for verdict in verdicts):
        sys.exit(FAILED)
