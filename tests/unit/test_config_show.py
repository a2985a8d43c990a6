"""`registry-mirror config show`: what counts, where it comes from, and nothing secret."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from mirror.cli import main
from mirror.config import load
from mirror.config.lines import line_of, lines
from mirror.config.toml import key, written

SETTINGS = """\
default_upstream = "registry.example.com"
http.idle = 3

[upstreams]
"registry.example.com".url = "https://registry.example.com"
"registry.example.com".username = "builder"
"registry.example.com".password_file = "credential:upstream"
[upstreams."registry.example.com".pull]
[upstreams.'other.example.com']  # another
token_file = "env:TOKEN"
url = "https://other.example.com"

[identity]
networks = { "10.0.0.0/8" = "acme" }
jwt = { keys = "/keys", audience = "a", issuer = "https://me:hunter2@i.example.com/", realm = "https://t0ken@r/?a@b" }

[verify]
command = [
  "/bin/verify",
  "--from=https://me:hunter2@verify.example.com",  # in [brackets]
]
media_types = []
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(SETTINGS)
    return file


def show(file: Path, *arguments: str) -> str:
    """What the command prints."""
    done = CliRunner().invoke(main, ["config", "show", "--config", str(file), *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_what_the_file_says(file: Path) -> None:
    """Each setting has its line, and a secret its source; defaults are not there, but a table that is empty is."""
    assert (
        show(file)
        == f"""\
# {file}

default_upstream = "registry.example.com"  # config.toml:1

[upstreams."registry.example.com"]
url = "https://registry.example.com"  # config.toml:5
username = "builder"  # config.toml:6
password_file = "credential:upstream"  # config.toml:7, systemd's credential upstream

[upstreams."registry.example.com".pull]

[upstreams."other.example.com"]
url = "https://other.example.com"  # config.toml:11
token_file = "env:TOKEN"  # config.toml:10, the variable TOKEN

[http]
idle = 3.0  # config.toml:2

[identity]
networks = {{ "10.0.0.0/8" = "acme" }}  # config.toml:14

[identity.jwt]
keys = "/keys"  # config.toml:15
audience = "a"  # config.toml:15
issuer = "https://***@i.example.com/"  # config.toml:15
realm = "https://***@r/?a@b"  # config.toml:15

[verify]
media_types = []  # config.toml:22
command = ["/bin/verify", "--from=https://***@verify.example.com"]  # config.toml:18
"""
    )


def test_everything(file: Path, tmp_path: Path) -> None:
    """With the defaults it is a settings file that means the same, but for the logins that are not shown."""
    shown = show(file, "--all")
    for line in ("keep = 120.0  # default", "# reserve is not set", 'listen = "127.0.0.1:5000"  # default'):
        assert line in shown
    again = tmp_path / "again.toml"
    again.write_text(shown)
    assert "hunter2" not in shown
    file.write_text(SETTINGS.replace("me:hunter2@", "***@").replace("t0ken@", "***@"))
    assert load(again) == load(file)


def test_as_json(file: Path) -> None:
    """The settings in their tables, and the origin of each by its key."""
    shown = json.loads(show(file, "--json"))
    assert shown["file"] == str(file)
    assert shown["settings"]["upstreams"]["registry.example.com"]["pull"] == {}
    assert shown["settings"]["verify"]["media_types"] == []
    assert shown["origins"]['upstreams."other.example.com".token_file'] == "config.toml:10, the variable TOKEN"
    assert "hunter2" not in str(shown)
    everything = json.loads(show(file, "--json", "--all"))
    assert everything["origins"]["http.keep"] == "default"
    assert everything["settings"]["disk"]["reserve"] is None


def test_settings_that_cannot_be_used(file: Path) -> None:
    """They are not shown: 2, and a line that names the key."""
    file.write_text(f"{SETTINGS}\n[log]\nlevel = 3\n")
    command = [sys.executable, "-m", "mirror", "config", "show", "--config", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "$.log.level" in done.stderr


def test_lines() -> None:
    """Whatever form keys and values have, and whatever looks like one of them and is none."""
    text = '''\
a = 1
"b.c" = """
[x]
y = 2
"""  # z = 3
d . e."f g" = [
  1, # [no]
  { h = "]" },
]

[t.'u.v'] # comment
w = { x = 1, 'y.z'.s = 2 }
  [ http ]

idle = 5
[[many]]
k = 1
[[many]]
k = 2
[many.sub]
j = \'\'\'
[http2]
\'\'\'
'''
    expected = {
        ("a",): 1,
        ("b.c",): 2,
        ("d", "e", "f g"): 6,
        ("t", "u.v"): 11,
        ("t", "u.v", "w", "x"): 12,
        ("t", "u.v", "w", "y.z", "s"): 12,
        ("http",): 13,
        ("http", "idle"): 15,
        ("many", "k"): 17,
        ("many", "sub"): 20,
        ("many", "sub", "j"): 21,
        ("http2",): None,
        ("d",): 6,
    }
    found = lines(text)
    assert {path: line_of(found, path) for path in expected} == expected
    assert max(found.values()) == 21


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_what_is_written_is_found(document: dict[str, object]) -> None:
    """Any key with any value can be written in TOML, and is found on its line."""
    rows = [f"{key(name)} = {written(value)}" for name, value in document.items()]
    found = lines("\n".join(rows))
    assert [line_of(found, (name,)) for name in document] == list(range(1, len(rows) + 1))
    assert all(row.replace("\t", "").isprintable() for row in rows if row.isascii())
