"""JSON that two readers would understand in two ways.

Go, in which nearly all other readers are written, takes a name in any mixture of capitals for the one that it knows,
and puts objects of the same name together; we do neither. So a manifest could name blobs that we do not see, and a
config other layers than those that were unpacked, which in a store that tenants share may be somebody else's.
Source: Go, package encoding/json ("Unmarshal"); CVE-2021-41190 for the kind of attack.
"""

import json
from collections.abc import Sequence
from typing import Any

_DESCRIPTORS = ("config", "subject", "layers", "blobs", "manifests")
_MEANT = frozenset(
    {
        *_DESCRIPTORS,
        *("schemaVersion", "mediaType", "artifactType", "annotations"),
        *("digest", "size", "platform", "urls", "data"),
        *("os", "architecture", "variant", "rootfs", "type", "diff_ids"),
    }
)
_FOLDED = {name.casefold(): name for name in _MEANT}


def check_names(text: str) -> str:
    """Return a manifest, index or image config as it is.

    Raises:
        ValueError: it is no JSON; an object has a name twice, or one that others read as another.
        RecursionError: it is too deep.
    """
    document = json.loads(text, object_pairs_hook=_object)
    _check(document)
    for name in ("rootfs", *_DESCRIPTORS):
        for part in _each(document, name):
            _check(part)
            for platform in _each(part, "platform"):
                _check(platform)
    return text


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name twice in one object")
    return found


def _each(value: object, name: str) -> list[object]:
    """What a name stands for, one by one if it is a list."""
    inner = value.get(name) if isinstance(value, dict) else None
    return inner if isinstance(inner, list) else [inner]


def _check(value: object) -> None:
    for name in value if isinstance(value, dict) else ():
        meant = _FOLDED.get(name.casefold(), name)
        if meant != name:
            raise ValueError(f"{name[:64]!r} could be read as {meant!r}")
