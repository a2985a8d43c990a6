"""What the definitions say of each table and key, for people: their texts, and what values may be, in words."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec

from mirror.config import shape
from mirror.config.kinds import Section
from mirror.config.settings import Settings
from mirror.config.toml import written

_EXAMPLE = "Example: "
_WORDS = {bool: "`true` or `false`", int: "whole number", float: "number", str: "text"}


@dataclass(frozen=True, slots=True)
class Description:
    """What a key is for; `example` is a value in TOML, empty where its default says enough."""

    text: str
    example: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the file.

    In `path`, `<name>` stands for names that people choose. One that is `optional` is not there unless it is written.
    """

    path: tuple[str, ...]
    section: type[Section]
    optional: bool

    @property
    def text(self) -> str:
        """What it is, in paragraphs."""
        return inspect.getdoc(self.section) or ""

    @property
    def keys(self) -> tuple[shape.Key, ...]:
        """Its keys that are no tables of ours."""
        return tuple(key for key in shape.keys(self.section) if key.section is None)


def tables(section: type[Section] = Settings, path: tuple[str, ...] = (), *, optional: bool = False) -> Iterator[Table]:
    """A table and those in it, outermost first, in the order in which they are defined."""
    yield Table(path, section, optional)
    for key in shape.keys(section):
        if key.section:
            inner = (*path, key.name, "<name>") if key.is_named else (*path, key.name)
            is_apart = optional or key.default is None or (key.is_named and not key.is_required)
            yield from tables(key.section, inner, optional=is_apart)


@cache
def descriptions(section: type[Section]) -> dict[str, Description]:
    """What each attribute of a table is for: the text below it.

    Source: PEP 258, "attribute docstrings". Python keeps none of them, so they are read from the source.
    """
    body = ast.parse(textwrap.dedent(inspect.getsource(section))).body[0]
    found = {}
    if isinstance(body, ast.ClassDef):
        for field, below in zip(body.body, body.body[1:], strict=False):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = _description(text)
    return found


def _description(text: str) -> Description:
    prose, _, example = inspect.cleandoc(text).partition(_EXAMPLE)
    return Description(" ".join(prose.split()), example.strip())


def words(hint: Any) -> str:  # noqa: ANN401 - a type hint may be anything
    """What a value may be, in words."""
    kind = shape.plain(hint)
    if get_origin(kind):
        return _composed(get_origin(kind), get_args(kind))
    if issubclass(kind, Enum):
        return _one_of(tuple(kind))
    if kind is Path:
        return _path(hint)
    return f"{_WORDS[kind]}{_limits(hint)}"


def _composed(origin: Any, parts: tuple[Any, ...]) -> str:  # noqa: ANN401 - as above
    if origin is Literal:
        return _one_of(parts)
    return f"table of {_several(parts[1])}" if origin is dict else f"list of {_several(parts[0])}"


def _several(hint: Any) -> str:  # noqa: ANN401 - as above
    one = words(hint)
    return "texts" if one == "text" else one


def _one_of(values: tuple[object, ...]) -> str:
    *others, last = (f"`{written(value)}`" for value in values)
    return f"{', '.join(others)} or {last}"


def _limits(hint: Any) -> str:  # noqa: ANN401 - as above
    metas = tuple(shape.metas(hint))
    least, most, above = (_said(metas, name) for name in ("ge", "le", "gt"))
    if least is not None and most is not None:
        return f" from {least} to {most}"
    lower = f" above {above}" if above is not None else f", {least} or more" if least is not None else ""
    return f"{lower}, at most {most}" if most is not None else lower


def _said(metas: tuple[msgspec.Meta, ...], name: str) -> float | None:
    return next((limit for meta in metas if (limit := getattr(meta, name)) is not None), None)


def _path(hint: Any) -> str:  # noqa: ANN401 - as above
    extra = {name for meta in shape.metas(hint) for name in meta.extra or ()}
    return "file with a secret" if "secret" in extra else "file" if "file" in extra else "path"
