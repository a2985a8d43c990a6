"""`registry-mirror serve`: the daemon."""

import asyncio
import faulthandler
import sqlite3
import sys
from pathlib import Path

import click
import structlog

from mirror.cli.exits import BAD_SETTINGS, DAMAGED
from mirror.cli.options import config_option, settings_or_exit
from mirror.config import SettingsError
from mirror.core.errors import JournalUnavailableError
from mirror.journal.db import JournalDamagedError, JournalError
from mirror.runtime.files import allow_many_open_files
from mirror.runtime.memory import keep_freed_memory
from mirror.runtime.telemetry import configure_logging

_log = structlog.get_logger(__name__)
_KNOWN = (JournalError, JournalUnavailableError, OSError)


@click.command()
@config_option
def serve(path: Path) -> None:
    """Run the daemon in the foreground, until SIGTERM.

    Exit code 0: it was told to stop. 1: it failed, and another start may help. 2: the settings are wrong. 4: the
    journal is damaged; a line of the log says what to do.
    """
    from mirror import app  # noqa: PLC0415 - it takes longer to import than most of the other commands to run

    settings = settings_or_exit(path)
    configure_logging(settings.log.level, settings.log.format)
    faulthandler.enable()  # systemd ends a daemon that hangs with SIGABRT: the log is to show where that was
    keep_freed_memory()
    allow_many_open_files()
    try:
        asyncio.run(app.serve(settings, path))
    except SettingsError as error:
        click.echo(f"registry-mirror: {path}: {error}", err=True)
        sys.exit(BAD_SETTINGS)
    except (*_KNOWN, sqlite3.Error) as error:
        _fail(error)
    except ExceptionGroup as group:
        _fail(*group.exceptions)


def _fail(*errors: Exception) -> None:
    """End non-zero, so that systemd starts us again where that helps; the known ways to fail need no traceback."""
    for error in errors:
        _log.critical("daemon.failed", reason=str(error), exc_info=None if isinstance(error, _KNOWN) else error)
    sys.exit(DAMAGED if any(isinstance(error, JournalDamagedError) for error in errors) else 1)
