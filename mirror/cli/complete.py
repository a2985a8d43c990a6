"""What the daemon knows of words that are being typed. Without one that answers at once there is nothing to offer."""

from collections.abc import Sequence
from glob import escape
from http.client import HTTPException
from typing import Any

import click
from click.shell_completion import CompletionItem

from mirror.cli.admin import Question, RefusedError, ask_at
from mirror.config import SettingsError, load

_PATIENCE = 0.5
_MOST = "50"

Items = list[CompletionItem]


def images(ctx: click.Context, _: click.Parameter, incomplete: str) -> Items:
    """Names of images here, with their registry or, of the default one, without it."""
    query = [("match", f"{escape(incomplete)}*"), ("limit", _MOST)]
    names = [image["image"] for image in _asked(ctx, "/images", query, "images")]
    return [CompletionItem(name if name.startswith(incomplete) else name.partition("/")[2]) for name in names]


def job_ids(ctx: click.Context, _: click.Parameter, incomplete: str) -> Items:
    """Ids of jobs that are not over."""
    jobs = {str(task["job"]): task["image"] for task in _asked(ctx, "/jobs", [], "tasks")}
    return [CompletionItem(job, help=image) for job, image in jobs.items() if job.startswith(incomplete)]


def _asked(ctx: click.Context, endpoint: str, query: Sequence[tuple[str, str]], key: str) -> list[dict[str, Any]]:
    try:
        socket = ctx.params.get("socket") or load(ctx.params["path"]).admin.socket
        found: list[dict[str, Any]] = ask_at(socket, Question(endpoint, query), _PATIENCE)[key]
    except (SettingsError, OSError, HTTPException, RefusedError):
        return []
    return found
