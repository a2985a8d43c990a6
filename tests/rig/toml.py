"""Settings as TOML text; the standard library only reads it."""

import json
from collections.abc import Mapping


def dump(settings: Mapping[str, object], path: tuple[str, ...] = ()) -> str:
    """Write nested mappings as TOML tables.

    JSON's strings, numbers, booleans and flat lists are TOML's too, and a quoted key is always allowed.
    """
    values = [f"{_quote(key)} = {_quote(value)}" for key, value in settings.items() if not isinstance(value, Mapping)]
    header = [f"[{'.'.join(map(_quote, path))}]"] if path and values else []
    tables = [dump(value, (*path, key)) for key, value in settings.items() if isinstance(value, Mapping)]
    return "\n".join([*header, *values, *tables])


def _quote(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
