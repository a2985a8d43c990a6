"""Options that several commands share."""

import sys
from pathlib import Path

import click

from mirror.config import DEFAULT_PATH, Settings, SettingsError, load

BAD_SETTINGS = 2
DAMAGED = 4
"""Exit code of a daemon whose journal is damaged: like bad settings, that does not mend itself by a restart."""

config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    envvar="REGISTRY_MIRROR_CONFIG",
    default=DEFAULT_PATH,
    show_default=True,
    show_envvar=True,
    help="The settings file.",
)


def settings_or_exit(path: Path) -> Settings:
    """The settings, or exit code 2 with a line that names the offending key."""
    try:
        return load(path)
    except SettingsError as error:
        click.echo(f"registry-mirror: {error}", err=True)
        sys.exit(BAD_SETTINGS)
