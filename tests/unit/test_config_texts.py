"""What the definitions of the settings say of themselves."""

import tomllib

import msgspec
import pytest

from mirror.config import Settings
from mirror.config.describe import Table, descriptions, tables
from mirror.config.file import decoded

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
