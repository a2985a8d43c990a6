"""What a change of the settings means for a daemon that runs: which keys count at once, and which at the next start."""

from collections.abc import Iterator
from typing import Any

import msgspec

from mirror import config

AT_ONCE = (
    "callers",
    "disk",
    "http.blob",
    "http.head",
    "http.keep",
    "http.total",
    "http.connections",
    "identity",
    "listeners.*.identify",
    "listeners.*.tenant",
    "listeners.*.tls.certificate",
    "listeners.*.tls.key",
    "listeners.*.tls.client_ca",
    "log.level",
    "replication.rate",
    "retention",
    "rules",
    "shutdown.deadline",
    "tenants",
    "upstreams.*.rate",
    "variants.load",
    "variants.rules",
    "verify",
)
"""The keys that count as soon as they are read, with all below them; `*` is any name."""

_Path = tuple[str, ...]


def counts_at_once(key: str) -> bool:
    """Whether a key, as it is written in the file with dots, counts without another start."""
    return _at_once(tuple(key.split(".")))


def _at_once(path: _Path) -> bool:
    patterns = (pattern.split(".") for pattern in AT_ONCE)
    return any(
        len(path) >= len(pattern) and all(want in {"*", name} for want, name in zip(pattern, path, strict=False))
        for pattern in patterns
    )


def merged(running: config.Settings, read: config.Settings) -> config.Settings:
    """The settings to go on with: what was read, but of what needs another start what is running.

    Raises:
        SettingsError: the two do not go together, such as a rule about an upstream that is not there yet.
    """
    try:
        settings: config.Settings = _merged(running, read, ())
    except ValueError as error:
        raise config.SettingsError(f"{error}; a restart takes all that was changed") from error
    return settings


def _merged(running: Any, read: Any, path: _Path) -> Any:  # noqa: ANN401 - whatever a setting can be
    if _at_once(path):
        return read
    match running, read:
        case msgspec.Struct(), msgspec.Struct():
            names = running.__struct_fields__
            fields = {name: _merged(getattr(running, name), getattr(read, name), (*path, name)) for name in names}
            return msgspec.structs.replace(running, **fields)
        case dict(), dict():
            return {name: _merged(value, read.get(name, value), (*path, name)) for name, value in running.items()}
        case _:
            return running


def changed(old: config.Settings, new: config.Settings) -> list[str]:
    """The keys that differ, as they are written in the file with dots; what came or went as a whole is one."""
    return sorted(".".join(path) for path in _changed(old, new, ()))


def _changed(old: object, new: object, path: _Path) -> Iterator[_Path]:
    match old, new:
        case msgspec.Struct(), msgspec.Struct():
            # `import` is a word of Python's, so the field has another name than the key.
            names = zip(old.__struct_fields__, old.__struct_encode_fields__, strict=True)
            for name, key in names:
                yield from _changed(getattr(old, name), getattr(new, name), (*path, key))
        case dict(), dict():
            for name in old.keys() | new.keys():
                yield from _changed(old.get(name), new.get(name), (*path, name))
        case _ if old != new:
            yield path
        case _:
            pass
