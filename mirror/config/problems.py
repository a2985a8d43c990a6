"""What is wrong with a settings file, all of it at once: `load` stops at the first."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from mirror.config import shape, toml
from mirror.config.describe import descriptions, words
from mirror.config.file import decoded
from mirror.config.kinds import Section
from mirror.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Problem:
    """Something to do about the settings; `path` are the names of the key or table, none where it is the file itself.

    A `warning` keeps nothing from working, but is hardly what was meant.
    """

    path: tuple[str, ...]
    reason: str
    advice: str
    is_warning: bool = False

    @property
    def key(self) -> str:
        """The path as TOML has it."""
        return toml.key(*self.path)


def problems(path: Path) -> list[Problem]:
    """Why a file cannot be loaded, as far as it can be told without looking at what it names; none if it can."""
    try:
        return list(_in_table(tomllib.loads(path.read_text()), Settings, ()))
    except OSError as error:
        return [Problem((), error.strerror or str(error), "Write the file, or name another with --config.")]
    except ValueError as error:
        return [Problem((), f"is no TOML: {error}", "Mend it there; texts and paths are in quotes.")]


def _in_table(found: object, section: type[Section], path: tuple[str, ...]) -> Iterator[Problem]:
    """What is wrong inside comes first: only where that is right can the table be judged as a whole."""
    if not isinstance(found, dict):
        yield Problem(path, "is no table", f"Write [{toml.key(*path)}], and its keys below.")
        return
    inside = [*_unknown(found, section, path), *_missing(found, section, path), *_in_keys(found, section, path)]
    yield from inside or _converted(found, section, path, "")


def _unknown(found: Mapping[str, Any], section: type[Section], path: tuple[str, ...]) -> Iterator[Problem]:
    known = [key.name for key in shape.keys(section)]
    for name in (name for name in found if name not in known):
        alike = get_close_matches(name, known, 1)
        advice = f"Did you mean {alike[0]}?" if alike else f"There are: {', '.join(known)}."
        yield Problem((*path, name), "there is no such key", advice)


def _missing(found: Mapping[str, Any], section: type[Section], path: tuple[str, ...]) -> Iterator[Problem]:
    for key in shape.keys(section):
        if key.is_required and key.name not in found:
            said = descriptions(section).get(key.attribute)
            advice = f"For example {key.name} = {said.example}" if said else f"Add a table [{key.name}.NAME]."
            yield Problem((*path, key.name), "must be set", advice)


def _in_keys(found: Mapping[str, Any], section: type[Section], path: tuple[str, ...]) -> Iterator[Problem]:
    for key in shape.keys(section):
        if key.name in found:
            yield from _in_key(found[key.name], key, (*path, key.name))


def _in_key(value: object, key: shape.Key, path: tuple[str, ...]) -> Iterator[Problem]:
    if key.section is None:
        yield from _converted(value, key.hint, path, f"It may be: {words(key.hint)}.")
    elif not key.is_named:
        yield from _in_table(value, key.section, path)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _in_table(inner, key.section, (*path, name))
    else:
        yield Problem(path, "is no table", f"Write [{toml.key(*path)}.NAME], and its keys below.")


def _converted(
    value: object,
    kind: Any,  # noqa: ANN401 - a type hint may be anything
    path: tuple[str, ...],
    advice: str,
) -> Iterator[Problem]:
    try:
        msgspec.convert(value, kind, dec_hook=decoded)
    except msgspec.ValidationError as error:
        yield Problem(path, str(error).partition(" - at `")[0], advice)
