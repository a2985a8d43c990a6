"""What there is to set, made from the definitions: a page for people, and a settings file with everything in it."""

import textwrap
from collections.abc import Iterator

from mirror.config import shape
from mirror.config.describe import Description, Table, descriptions, tables, words
from mirror.config.toml import key, written

_WIDTH = 120
_PAGE = """\
# The settings

This page is made from the definitions, by `registry-mirror config reference`.

The daemon reads one TOML file, `/etc/registry-mirror/config.toml` unless `--config` or `REGISTRY_MIRROR_CONFIG` says
another. `default_upstream` and one upstream are all that must be set; [an example](../systemd/config.toml) shows the
rest with its defaults, and is printed by `registry-mirror config reference --toml`. An unknown key or a bad value stops
the start with exit code 2. What is changed counts from the next start; files that the settings name are read again when
they change, where it says so.

A path may also be `credential:NAME`, which systemd has loaded for the daemon (`LoadCredential=` in the unit), or
`env:NAME`, a variable of the environment, which then is the file's content. No secret is ever in this file.

```sh
registry-mirror config check   # what is wrong, in the file and in those that it names, and what to do about it
registry-mirror config show    # what counts, and where it comes from; with --all the defaults, too
```

In the names of tables, `<name>` is a name that you choose; of an upstream it is that of the registry, as image names
begin with it. It is quoted if there is anything but letters, digits, `_` and `-` in it.
"""
_FILE = """\
# /etc/registry-mirror/config.toml
# What is commented out shows the default, or an example for what is not set by default. `registry-mirror config check`
# says what is wrong. Each file may also be "credential:NAME", which systemd loads (LoadCredential= in the unit), or
# "env:NAME", a variable of the environment, which then is the file's content.
"""
_NAMES = {"upstreams": "registry.example.com", "listeners": "builders", "rules": "own"}


def page() -> str:
    """The reference, in Markdown."""
    return _PAGE + "".join(_chapter(table) for table in tables())


def example() -> str:
    """A settings file that shows everything."""
    return _FILE + "".join(_block(table) for table in tables())


def listing() -> list[dict[str, str]]:
    """All keys, for programs; values are in TOML."""
    return [
        {
            "key": ".".join((*table.path, each.name)),
            "type": words(each.hint),
            "default": "" if each.is_required or each.default is None else written(each.default),
            "unit": each.extra.get("unit", ""),
            "description": said.text,
            "example": said.example,
        }
        for table in tables()
        for each, said in _described(table)
    ]


def _chapter(table: Table) -> str:
    title = f"`[{'.'.join(table.path)}]`" if table.path else "Before the first table"
    rows = [
        "| key | what it may be | default | unit | what it is |",
        "|---|---|---|---|---|",
        *(_row(each, text) for each, text in _described(table)),
    ]
    return "\n".join(["", f"## {title}", "", table.text, "", *rows, ""])


def _row(each: shape.Key, said: Description) -> str:
    default = "must be set" if each.is_required else "not set" if each.default is None else f"`{written(each.default)}`"
    text = f"{said.text} For example `{said.example}`." if said.example else said.text
    cells = [f"`{each.name}`", words(each.hint), default, each.extra.get("unit", ""), text]
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _block(table: Table) -> str:
    header = [f"{_sign(commented=table.optional)}[{key(*_named(table.path))}]"] if table.path else []
    lines = [*_comment(table.text), *header] if table.path else []
    for each, said in _described(table):
        lines += [*_comment(said.text), *_shown(table, each, said)]
    return "\n".join(["", *lines, ""])


def _shown(table: Table, each: shape.Key, said: Description) -> Iterator[str]:
    has_default = not each.is_required and each.default is not None
    if has_default and said.example:
        yield from _comment(f"For example {said.example}.")
    sign = _sign(commented=table.optional or not each.is_required)
    remarks = [each.extra.get("unit"), None if has_default or each.is_required else "not set by default"]
    remark = "; ".join(filter(None, remarks))
    yield f"{sign}{each.name} = {written(each.default) if has_default else said.example}" + (
        f"  # {remark}" if remark else ""
    )


def _described(table: Table) -> list[tuple[shape.Key, Description]]:
    texts = descriptions(table.section)
    return [(each, texts[each.attribute]) for each in table.keys]


def _sign(*, commented: bool) -> str:
    """Without a space behind it, so that it cannot be taken for prose."""
    return "#" if commented else ""


def _named(path: tuple[str, ...]) -> Iterator[str]:
    for before, name in zip(("", *path), path, strict=False):
        yield _NAMES[before] if name == "<name>" else name


def _comment(text: str) -> list[str]:
    paragraphs = [textwrap.wrap(each, _WIDTH - 2, break_on_hyphens=False) for each in text.split("\n\n")]
    return [f"# {line}" for lines in paragraphs for line in lines]
