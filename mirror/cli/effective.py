"""The settings that count, and where each of them comes from."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mirror import config
from mirror.app.secrets import source
from mirror.config import toml
from mirror.config.lines import line_of, lines
from mirror.config.shape import Leaf, leaves

# RFC 3986: between the slashes and the host.
_LOGIN = re.compile(r"(?<=://)[^/?#\s]*(?=@)")


class Settings:
    """Settings as they were loaded from the file at `path`; without `everything`, those that it says something of."""

    def __init__(self, settings: config.Settings, path: Path, *, everything: bool) -> None:
        self._path = path
        self._lines = lines(path.read_text())
        self._everything = everything
        self._tables: dict[tuple[str, ...], list[Leaf]] = {}
        for leaf in leaves(settings):
            self._tables.setdefault(leaf.path[:-1], []).append(leaf)

    def as_toml(self) -> str:
        """A settings file that says the same, with the origin of each setting behind it."""
        blocks = [[f"# {self._path}"]]
        for path, leaves_ in self._shown():
            header = [f"[{toml.key(*path)}]"] if path else []
            blocks.append([*header, *map(self._line, leaves_)])
        return "\n\n".join("\n".join(block) for block in blocks)

    def as_json(self) -> dict[str, Any]:
        """The settings in their tables, and their origins by their keys."""
        tables: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for path, leaves_ in self._shown():
            table = tables
            for name in path:
                table = table.setdefault(name, {})
            for leaf in leaves_:
                table[leaf.key.name] = _plain(leaf.value)
                origins[toml.key(*leaf.path)] = self._origin(leaf)
        return {"file": str(self._path), "settings": tables, "origins": origins}

    def _shown(self) -> Iterator[tuple[tuple[str, ...], list[Leaf]]]:
        """What is to be shown of each table; one that is there counts, even if nothing is in it."""
        for path, leaves_ in self._tables.items():
            shown = leaves_ if self._everything else [leaf for leaf in leaves_ if self._said(leaf.path)]
            if shown or self._said(path):
                yield path, shown

    def _line(self, leaf: Leaf) -> str:
        if leaf.value is None:
            return f"# {leaf.key.name} is not set"
        return f"{leaf.key.name} = {_masked(leaf.value)}  # {self._origin(leaf)}"

    def _origin(self, leaf: Leaf) -> str:
        line = self._said(leaf.path)
        origin = f"{self._path.name}:{line}" if line else "default"
        content = source(leaf.value) if isinstance(leaf.value, Path) else ""
        return f"{origin}, {content}" if content else origin

    def _said(self, path: tuple[str, ...]) -> int | None:
        return line_of(self._lines, path)


def _masked(value: object) -> str:
    return _LOGIN.sub("***", toml.written(value))


def _plain(value: object) -> object:
    """A value as JSON has it."""
    return None if value is None else tomllib.loads(f"value = {_masked(value)}")["value"]
