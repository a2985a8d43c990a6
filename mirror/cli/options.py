"""Options that several commands share."""

from pathlib import Path

import click

from mirror.cli.exits import BAD_SETTINGS
from mirror.cli.screen import fail
from mirror.config import DEFAULT_PATH, Settings, SettingsError, load

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

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, as the daemon answers it.")


def settings_or_exit(path: Path) -> Settings:
    """The settings, or exit code 2 with a line that names the offending key."""
    try:
        return load(path)
    except SettingsError as error:
        fail(str(error), BAD_SETTINGS)
