"""Keys and values as TOML; the standard library only reads it.

Source: TOML 1.0.
"""

import json
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from pathlib import Path

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_CONTROL = re.compile(r"[\x7f-\x9f]")


def key(*path: str) -> str:
    """A dotted key, quoted where it has to be."""
    return ".".join(name if _BARE.fullmatch(name) else _quoted(name) for name in path)


def written(value: object) -> str:
    """A value, on one line. Sets come in the order of their texts, so that the same is always written alike."""
    match value:
        case Enum():
            return written(value.value)
        case str() | Path():
            return _quoted(str(value))
        case Mapping():
            inner = ", ".join(f"{key(name)} = {written(each)}" for name, each in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case AbstractSet():
            return f"[{', '.join(sorted(map(written, value)))}]"
        case Sequence():
            return f"[{', '.join(map(written, value))}]"
        case _:  # `true`, `inf` and `1e+20` are Python's words but for the capital
            return str(value).lower()


def _quoted(text: str) -> str:
    """A basic string. What JSON escapes TOML knows; what else a terminal might obey is escaped, too."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))
