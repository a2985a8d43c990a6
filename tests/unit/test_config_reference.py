"""What the definitions of the settings say of themselves: on the page of reference, and in the file that is shipped."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mirror.config import Settings, load
from mirror.config.describe import Table, descriptions, tables
from mirror.config.file import decoded
from mirror.config.reference import example, page

ROOT = Path(__file__).parents[2]
FILE = ROOT / "systemd/config.toml"
TABLES = {".".join(table.path) or "the file": table for table in tables()}


def test_each_table_is_there() -> None:
    """Those of the file, and those that are in others."""
    assert TABLES.keys() >= {"http", "upstreams.<name>.pull", "listeners.<name>.tls", "identity.jwt", "rules.<name>"}
    assert {table.section for table in TABLES.values()} >= {Settings}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_everything_has_its_description(table: Table) -> None:
    """Each table and each key says what it is, in a sentence; what is a table says it in its own place alone."""
    assert table.text.endswith(".")
    texts = descriptions(table.section)
    assert texts.keys() == {key.attribute for key in table.keys}
    for attribute, said in texts.items():
        assert said.text.endswith("."), attribute


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_what_has_no_default_has_an_example(table: Table) -> None:
    """And it is one that the key may have."""
    for key in table.keys:
        example = descriptions(table.section)[key.attribute].example
        assert example or not (key.default is None or key.is_required), key.name
        if example:
            msgspec.convert(tomllib.loads(f"it = {example}")["it"], key.hint, dec_hook=decoded)


def test_the_page_is_up_to_date() -> None:
    """If this fails: registry-mirror config reference > docs/configuration.md."""
    assert (ROOT / "docs/configuration.md").read_text() == page()


def test_the_file_is_up_to_date() -> None:
    """If this fails: registry-mirror config reference --toml > systemd/config.toml."""
    assert FILE.read_text() == example()


@pytest.mark.parametrize(
    "row",
    [
        "| `keep` | number above 0, at most 3600 | `120.0` | seconds | How long a connection may be without",
        "| `manifest` | whole number from 1024 to 4194304 | `4194304` | bytes | The largest",
        "| `key` | file with a secret | must be set |  | Its key",
        '| `import` | `"auto"`, `"stream"` or `"direct"` | `"auto"` |  | How blobs get into',
        '| `actions` | list of `"pull"`, `"push"`, `"delete"` or `"status"` | `["pull", "push", "status"]` |  | What',
        "| `annotations` | table of texts | `{}` |  | The annotations that must be there, with their values; an empty",
        "| `reserve` | whole number, 0 or more | not set | bytes | What is left free",
    ],
)
def test_what_the_page_says_of_a_key(row: str) -> None:
    """What it may be in words, its default as it would be written, its unit and its description."""
    assert row in page()


def test_the_file_loads(tmp_path: Path) -> None:
    """It can be used as it is, and says no more than that there is an upstream."""
    minimal = tmp_path / "config.toml"
    minimal.write_text(
        'default_upstream = "registry.example.com"\n'
        '[upstreams."registry.example.com"]\nurl = "https://registry.example.com"\n'
    )
    assert load(FILE) == load(minimal)


def shown() -> Iterator[tuple[Table, dict[str, Any], dict[str, Any]]]:
    """The tables of the file that is shipped: the values that count, and those that are commented out."""
    before, *blocks = re.split(r"^#?\[(.+)\]$", FILE.read_text(), flags=re.MULTILINE)
    for name, block in [("the file", before), *zip(blocks[::2], blocks[1::2], strict=True)]:
        kind = re.sub(r"^(upstreams|listeners|rules|variants\.rules)\.(\w+|\".*?\")", r"\1.<name>", name)
        yield TABLES[kind], tomllib.loads(block), tomllib.loads("\n".join(re.findall(r"^#(\w.*)", block, re.MULTILINE)))


def test_the_file_shows_every_default() -> None:
    """Each key of each table is there, once; a default that is shown is the one that counts."""
    seen = []
    for table, counts, commented in shown():
        keys = {key.name: key for key in table.keys}
        assert keys.keys() == counts.keys() | commented.keys()
        for name, value in commented.items():
            if keys[name].default is not None and not keys[name].is_required:
                assert msgspec.convert(value, keys[name].hint, dec_hook=decoded) == keys[name].default, name
        seen.append(table.path)
    assert sorted(seen) == sorted(table.path for table in TABLES.values())


def test_what_the_file_shows_could_be(tmp_path: Path) -> None:
    """Without the signs before them, the tables about who is calling are a file that can be used."""
    text = FILE.read_text()
    callers = text[: text.index("[verify]")]
    meant = re.sub(r"^#(?=[\w[])", "", callers, flags=re.MULTILINE)
    for other in ("token_file", "docker_config", "group"):  # which would exclude what else is there
        meant = re.sub(rf"^{other} = .*", "", meant, flags=re.MULTILINE)
    file = tmp_path / "config.toml"
    file.write_text(meant.replace("networks = {}", 'networks = { "fdaa:0:18::/48" = "acme" }'))
    settings = load(file)
    assert not settings.is_open
    assert settings.rules.keys() == {"own"}
    assert settings.listeners["builders"].tls
