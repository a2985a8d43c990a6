"""The settings file: found, read, and checked as a whole."""

import tomllib
from pathlib import Path

import msgspec

from mirror.config.settings import Settings

DEFAULT_PATH = Path("/etc/registry-mirror/config.toml")


class SettingsError(Exception):
    """The settings cannot be used; the text names the file and the path of the offending key."""


def load(path: Path) -> Settings:
    """Read and check a settings file.

    Raises:
        SettingsError: it cannot be read, is no TOML, or holds an unknown key or a bad value.
    """
    try:
        return msgspec.convert(tomllib.loads(path.read_text()), Settings, dec_hook=decoded)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}") from error


def decoded(kind: type, value: object) -> object:
    """Paths, which TOML has no type for."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"Expected a {kind.__name__} in quotes")
