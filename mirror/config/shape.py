"""The tables and keys that there are, as the definitions have them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec

from mirror.config.kinds import Section


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table: its name in the file and in Python, what it may be, and what it is when nothing is said."""

    name: str
    attribute: str
    hint: Any
    """Its type as it is written, with what `Annotated` says."""
    default: object
    """`msgspec.NODEFAULT` when it must be said."""

    @property
    def is_required(self) -> bool:
        """Whether it must be said."""
        return self.default is msgspec.NODEFAULT

    @property
    def section(self) -> type[Section] | None:
        """What it is, if it is a table of ours, or a table of such under names that people choose."""
        hint = optional(self.hint)
        inner = get_args(hint)[1] if self.is_named else hint
        return inner if isinstance(inner, type) and issubclass(inner, Section) else None

    @property
    def is_named(self) -> bool:
        """Whether it is a table with names that people choose."""
        return get_origin(optional(self.hint)) is dict

    @property
    def extra(self) -> Mapping[str, Any]:
        """What `Meta.extra` says of it."""
        return {name: value for meta in metas(self.hint) for name, value in (meta.extra or {}).items()}


@cache
def keys(section: type[Section]) -> tuple[Key, ...]:
    """The keys of a table, in the order in which they are defined."""
    hints = get_type_hints(section, include_extras=True)
    return tuple(
        Key(field.encode_name, field.name, hints[field.name], _default(field))
        for field in msgspec.structs.fields(section)
    )


def _default(field: msgspec.structs.FieldInfo) -> object:
    made: object = field.default_factory
    return made() if callable(made) else field.default


def optional(hint: Any) -> Any:  # noqa: ANN401 - a type hint may be anything
    """A hint without its `| None`."""
    if get_origin(hint) in {Union, UnionType}:
        return next(each for each in get_args(hint) if each is not NoneType)
    return hint


def plain(hint: Any) -> Any:  # noqa: ANN401 - as above
    """A hint without its `| None` and what `Annotated` says."""
    hint = optional(hint)
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def metas(hint: Any) -> Iterator[msgspec.Meta]:  # noqa: ANN401 - as above
    """What `Annotated` says."""
    hint = optional(hint)
    if get_origin(hint) is Annotated:
        yield from (each for each in get_args(hint)[1:] if isinstance(each, msgspec.Meta))


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a key is set to that is no table of ours; `path` are the names that lead to it in the file."""

    path: tuple[str, ...]
    key: Key
    value: Any


def leaves(section: Section, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Everything in a table and in those below it, in the order in which it is defined."""
    for key in keys(type(section)):
        value = getattr(section, key.attribute)
        if key.section is None:
            yield Leaf((*path, key.name), key, value)
        elif value is not None:
            inner = value.items() if key.is_named else [(None, value)]
            for name, table in inner:
                yield from leaves(table, (*path, key.name) if name is None else (*path, key.name, name))
