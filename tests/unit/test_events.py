"""docs/events.md tells every event that the source logs, with its levels and keys, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
_ROW = re.compile(r"\| `([a-z0-9_.]+)` \| ([^|]*) \| ([^|]*) \|")
# Put together where they are logged: the ends of a drain, and who a client on a unix socket is.
_BY_NAME = {"_names(candidate)": {"repository", "references", "digest"}, "who": {"pid", "uid", "gid"}}


def logged() -> dict[str, tuple[set[str], set[str]]]:
    """Levels and keys of each event."""
    found: dict[str, tuple[set[str], set[str]]] = {"journal.lost": ({"warning"}, {"entries"})}
    for file in (ROOT / "mirror").rglob("*.py"):
        for call in _calls(ast.parse(file.read_text())):
            for name in _names(call.args[0]):
                levels, keys = found.setdefault(name, (set(), set()))
                levels.add(_level(call))
                keys |= {key for keyword in call.keywords for key in _keys(keyword)}
    return found


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    """What is called on a logger; whoever passes one on as a value would not be seen."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "_log":
            assert node.attr in {"debug", "info", "warning", "error", "critical", "exception"}, node.attr
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id == "_log":
                yield node


def _level(call: ast.Call) -> str:
    assert isinstance(call.func, ast.Attribute)
    return call.func.attr


def _names(argument: ast.expr) -> list[str]:
    """The event of a call, or both of them where it is one or the other."""
    if isinstance(argument, ast.IfExp):
        return [*_names(argument.body), *_names(argument.orelse)]
    assert isinstance(argument, ast.Constant), ast.unparse(argument)
    return [str(argument.value)]


def _keys(keyword: ast.keyword) -> set[str]:
    if keyword.arg is None:
        return _BY_NAME[ast.unparse(keyword.value)]
    return set() if keyword.arg == "exc_info" else {keyword.arg}


def test_the_table_of_events() -> None:
    """A row for each, and none for what is not there."""
    rows = _ROW.findall((ROOT / "docs/events.md").read_text())
    told = {name: (set(levels.split(", ")), set(filter(None, keys.split(", ")))) for name, levels, keys in rows}
    assert len(told) == len(rows)
    assert told == logged()
