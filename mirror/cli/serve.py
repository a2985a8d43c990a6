"""`registry-mirror serve`: the daemon."""

import asyncio
import sqlite3
import sys
from pathlib import Path

import click
import structlog

from mirror import app
from mirror.cli.options import BAD_SETTINGS, config_option, settings_or_exit
from mirror.config import SettingsError
from mirror.containerd.channel import SnapshotterError
from mirror.journal.db import JournalError
from mirror.runtime.telemetry import configure_logging

_log = structlog.get_logger(__name__)


@click.command()
@config_option
def serve(path: Path) -> None:
    """Run the daemon in the foreground, until SIGTERM."""
    settings = settings_or_exit(path)
    configure_logging(settings.log.level, settings.log.format)
    try:
        asyncio.run(app.serve(settings))
    except SettingsError as error:
        click.echo(f"registry-mirror: {path}: {error}", err=True)
        sys.exit(BAD_SETTINGS)
    except (JournalError, SnapshotterError, sqlite3.Error, OSError) as error:
        _fail(error)
    except ExceptionGroup as group:
        _fail(*group.exceptions)


def _fail(*errors: Exception) -> None:
    """End non-zero, so that systemd starts us again; the known ways to fail need no traceback."""
    for error in errors:
        expected = isinstance(error, (JournalError, SnapshotterError, OSError))
        _log.critical("daemon.failed", reason=str(error), exc_info=None if expected else error)
    sys.exit(1)
