"""Where secrets are that settings name, when they are no files of their own: systemd's credentials, the environment.

Source: systemd.exec(5), "CREDENTIALS"; memfd_create(2).
"""

import os
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from mirror import config

_CREDENTIAL, _ENVIRONMENT = "credential:", "env:"
_DIRECTORY = "CREDENTIALS_DIRECTORY"

_Section = TypeVar("_Section", bound=msgspec.Struct)


def located(settings: _Section, taken: dict[str, Path] | None = None) -> _Section:
    """The settings, or a table of them, with nothing but files in the place of paths.

    `credential:NAME` is what systemd has loaded for the daemon. `env:NAME` is a variable of the environment: it is
    taken out of that, so that nothing that is started from here inherits it, and put into a file in memory. `taken` are
    those that were, for whoever reads settings again.

    Raises:
        SettingsError: there is no such credential or variable.
    """
    found: _Section = _located(settings, {} if taken is None else taken)
    return found


def looked_at(settings: _Section) -> _Section:
    """The same, for a command that looks at them more than once: the environment stays as it is."""
    before = dict(os.environ)
    try:
        return located(settings)
    finally:
        os.environ.update(before)


def source(path: Path) -> str:
    """Where what a path of the settings stands for comes from, in words; empty if that is a file."""
    kind, _, name = str(path).partition(":")
    return {"credential": f"systemd's credential {name}", "env": f"the variable {name}"}.get(kind, "")


def _located(value: Any, taken: dict[str, Path]) -> Any:  # noqa: ANN401 - whatever a setting can be
    match value:
        case Path():
            return _file(value, taken)
        case dict():
            return {name: _located(inner, taken) for name, inner in value.items()}
        case msgspec.Struct():
            fields = msgspec.structs.asdict(value)
            return msgspec.structs.replace(value, **{name: _located(inner, taken) for name, inner in fields.items()})
        case _:
            return value


def _file(path: Path, taken: dict[str, Path]) -> Path:
    text = str(path)
    if text.startswith(_CREDENTIAL):
        return _credential(text.removeprefix(_CREDENTIAL))
    if text.startswith(_ENVIRONMENT):
        name = text.removeprefix(_ENVIRONMENT)
        if name not in taken:
            taken[name] = _from_environment(name)
        return taken[name]
    return path


def _credential(name: str) -> Path:
    directory = os.environ.get(_DIRECTORY)
    if directory is None:
        raise config.SettingsError(f"{_CREDENTIAL}{name}: systemd has loaded none ({_DIRECTORY} is not set)")
    file = Path(directory) / name
    if not name or "/" in name or not file.is_file():
        raise config.SettingsError(f"{_CREDENTIAL}{name}: systemd has loaded no such credential")
    return file


def _from_environment(name: str) -> Path:
    """A file in memory with what a variable says, open for as long as the process runs."""
    value = os.environ.pop(name, None)
    if value is None:
        raise config.SettingsError(f"{_ENVIRONMENT}{name}: there is no such variable")
    descriptor = os.memfd_create(name)
    os.write(descriptor, value.encode(errors="surrogateescape"))
    return Path(f"/proc/self/fd/{descriptor}")
