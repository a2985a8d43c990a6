"""`registry-mirror config check`: everything that is wrong, by its key and its line, and what is hardly meant."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from click.testing import CliRunner
from joserfc.jwk import ECKey

from mirror.cli import main
from tests.rig import toml
from tests.rig.authority import Authority

NAME = "registry.example.com"
Settings = dict[str, Any]


@dataclass(frozen=True)
class Checked:
    """What the command said, and how it ended."""

    code: int
    problems: list[dict[str, Any]]

    def only(self, key: str, *words: str, severity: str = "error") -> None:
        """There is this one problem, with something to do about it."""
        assert [(each["severity"], each["key"]) for each in self.problems] == [(severity, key)], self.problems
        assert self.problems[0]["advice"]
        for word in words:
            assert word in self.problems[0]["reason"]
        assert self.code == (2 if severity == "error" else 0)


def checked(file: Path, *arguments: str) -> Checked:
    done = CliRunner().invoke(main, ["config", "check", "--json", "--config", str(file), *arguments])
    return Checked(done.exit_code, json.loads(done.output)["problems"])


@pytest.fixture(scope="module")
def files() -> Iterator[Path]:
    """A directory that others get to, with all that settings can name; what is secret is the owner's."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        authority = Authority(directory / "tls")
        authority.server("server")
        authority.server("other")
        key = ECKey.generate_key("P-256", {"kid": "1"})
        texts = {
            "password": "correct-horse",
            "htpasswd": f"alice:{bcrypt.hashpw(b'open sesame', bcrypt.gensalt(4)).decode()}",
            "tokens": f"ci:{hashlib.sha256(b'token').hexdigest()}",
            "jwks.json": json.dumps({"keys": [key.as_dict(private=False)]}),
            "docker.json": "{}",
            "nothing": "",
            "garbage": "garbage",
        }
        for file, text in texts.items():
            (directory / file).write_text(text)
        for each in directory.rglob("*"):
            each.chmod(0o700 if each.is_dir() else 0o600)
        directory.chmod(0o755)
        yield directory


@pytest.fixture
def good(files: Path, tmp_path: Path) -> Settings:
    """Settings in which all kinds of files are named, and nothing is wrong."""
    tls = files / "tls"
    return {
        "default_upstream": NAME,
        "upstreams": {
            NAME: {
                "url": f"https://{NAME}",
                "username": "builder",
                "password_file": str(files / "password"),
                "ca_file": str(tls / "ca.pem"),
                "client_cert": str(tls / "server.pem"),
                "client_key": str(tls / "server.key"),
                "proxy": "http://proxy.example.com:3128",
                "proxy_username": "through",
                "proxy_password_file": str(files / "password"),
            },
            "token.example.com": {"url": "https://token.example.com", "token_file": str(files / "password")},
            "docker.example.com": {"url": "http://127.0.0.1:5001", "docker_config": str(files / "docker.json")},
        },
        "listeners": {
            "network": {
                "listen": "0.0.0.0:5443",
                "tls": {
                    "certificate": str(tls / "server.pem"),
                    "key": str(tls / "server.key"),
                    "client_ca": str(tls / "ca.pem"),
                },
            },
            "local": {"listen": f"unix:{tmp_path}/local.sock", "group": "root"},
        },
        "identity": {
            "htpasswd": str(files / "htpasswd"),
            "tokens": str(files / "tokens"),
            "tenants": {"basic:alice": "acme"},
            "jwt": {"keys": str(files / "jwks.json"), "audience": "mirror", "issuer": "https://auth.example.com"},
        },
        "rules": {"own": {"tenants": ["*"], "repositories": ["{tenant}/**"]}, "ci": {"principals": ["token:ci-*"]}},
        "admin": {"socket": str(tmp_path / "admin.sock"), "group": "root"},
        "verify": {"command": ["/bin/true"]},
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_nothing_is_wrong(good: Settings, file: Path) -> None:
    """Settings that the daemon starts with, and that are meant: 0, and a line that says so."""
    file.write_text(toml.dump(good))
    assert checked(file, "--strict") == Checked(0, [])
    said = CliRunner().invoke(main, ["config", "check", "--config", str(file)])
    assert said.output == f"{file} can be used\n"


# What is changed, with FILES for the directory, then the key of the one problem, and some of its words.
WRONG: dict[str, tuple[str, Any, str, str]] = {
    "no file": (f"upstreams/{NAME}/password_file", "FILES/none", f'upstreams."{NAME}".password_file', "No such file"),
    "a directory": (f"upstreams/{NAME}/ca_file", "FILES", f'upstreams."{NAME}".ca_file', "Is a directory"),
    "no password": (f"upstreams/{NAME}/password_file", "FILES/nothing", f'upstreams."{NAME}".password_file', "empty"),
    "no authorities": (f"upstreams/{NAME}/ca_file", "FILES/garbage", f'upstreams."{NAME}".ca_file', "no certificate"),
    "another's key": (
        f"upstreams/{NAME}/client_key",
        "FILES/tls/other.key",
        f'upstreams."{NAME}".client_cert',
        "not that",
    ),
    "no login for the proxy": (
        f"upstreams/{NAME}/proxy_password_file",
        "FILES/nothing",
        f'upstreams."{NAME}".proxy_password_file',
        "empty",
    ),
    "no token": (
        "upstreams/token.example.com/token_file",
        "FILES/nothing",
        'upstreams."token.example.com".token_file',
        "",
    ),
    "no config.json": (
        "upstreams/docker.example.com/docker_config",
        "FILES/garbage",
        'upstreams."docker.example.com".docker_config',
        "garbage",
    ),
    "another's key, of a listener": (
        "listeners/network/tls/key",
        "FILES/tls/other.key",
        "listeners.network.tls.certificate",
        "not that of the certificate",
    ),
    "no certificate": (
        "listeners/network/tls/certificate",
        "FILES/garbage",
        "listeners.network.tls.certificate",
        "used",
    ),
    "nobody's clients": (
        "listeners/network/tls/client_ca",
        "FILES/garbage",
        "listeners.network.tls.client_ca",
        "no cert",
    ),
    "no users": ("identity/htpasswd", "FILES/garbage", "identity.htpasswd", "line 1"),
    "no tokens": ("identity/tokens", "FILES/garbage", "identity.tokens", "line 1"),
    "no keys": ("identity/jwt/keys", "FILES/garbage", "identity.jwt.keys", "JWKS"),
    "no group": ("admin/group", "no-such-group", "admin.group", "no-such-group"),
    "no group, of a listener": ("listeners/local/group", "no-such-group", "listeners.local.group", "no-such-group"),
    "a path that is too long": ("admin/socket", f"/run/{'x' * 120}/admin.sock", "admin.socket", "107"),
    "a socket in the place of something": ("admin/socket", "FILES/garbage", "admin.socket", "no socket"),
}


def changed(settings: Settings, where: str, value: object, files: Path) -> Settings:
    """The settings with something else in one place."""
    *path, last = where.split("/")
    table = settings
    for name in path:
        table = table.setdefault(name, {})
    table[last] = value.replace("FILES", str(files)) if isinstance(value, str) else value
    return settings


@pytest.mark.parametrize(("where", "value", "key", "words"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_used(
    good: Settings, files: Path, file: Path, where: str, value: object, key: str, words: str
) -> None:
    """What keeps the daemon from starting is said of the key that names it, and of nothing else: 2."""
    file.write_text(toml.dump(changed(good, where, value, files)))
    checked(file).only(key, words)


MEANT: dict[str, tuple[str, Any, str, str]] = {
    "in the clear": (
        "upstreams/docker.example.com/url",
        "http://192.0.2.1",
        'upstreams."docker.example.com".url',
        "cred",
    ),
    "a name that is a URL": (
        "upstreams/https:%%x",
        {"url": "https://x.example.com"},
        'upstreams."https://x"',
        "no image name",
    ),
    "megabytes": ("replication/rate", 20, "replication.rate", "20 bytes per second"),
    "gigabytes, of a disk": ("disk/reserve", 5, "disk.reserve", "5 bytes"),
    "logins in the clear": (
        "listeners/plain",
        {"listen": "0.0.0.0:5000", "identify": ["basic"]},
        "listeners.plain.listen",
        "basic",
    ),
    "no rules": ("rules", {}, "rules", "none of them"),
    "a rule for nobody": ("rules/x", {"principals": ["network:10.*"]}, "rules.x", "nobody"),
    "a rule for no tenant": ("rules/x", {"tenants": ["acmee"]}, "rules.x", "nobody"),
    "a rule for a part of a kind": ("rules/x", {"principals": ["bas"]}, "rules.x", "nobody"),
    "a tenant of nobody": ("identity/tenants/alice", "acme", "identity.tenants.alice", "nobody"),
    "a pause that is none": ("replication/backoff_first", 500, "replication.backoff_first", "backoff_max"),
    "a journal that is forgotten": ("journal/path", "/run/journal.db", "journal.path", "/run"),
    "nobody who can be asked": ("verify/command", ["/nonexistent"], "verify.command", "/nonexistent"),
    "a credential": ("identity/htpasswd", "credential:users", "identity.htpasswd", "credential:users"),
    "a variable": ("identity/htpasswd", "env:NOT_THERE", "identity.htpasswd", "env:NOT_THERE"),
}


@pytest.mark.parametrize(("where", "value", "key", "words"), MEANT.values(), ids=MEANT)
def test_what_is_hardly_meant(
    good: Settings, files: Path, file: Path, where: str, value: object, key: str, words: str
) -> None:
    """What works, or cannot be looked at from here, is a warning: 0, and with --strict 1."""
    settings = changed(good, where.replace(":%%", "_"), value, files)
    if "%%" in where:
        settings["upstreams"]["https://x"] = settings["upstreams"].pop("https_x")
    file.write_text(toml.dump(settings))
    checked(file).only(key, words, severity="warning")
    assert checked(file, "--strict").code == 1


@pytest.mark.parametrize(
    "rule",
    [{}, {"tenants": ["other", "acme"]}, *({"principals": [name]} for name in ("bas*", "*", "anonymous", "jwt:x"))],
)
def test_a_rule_for_somebody(good: Settings, file: Path, rule: dict[str, list[str]]) -> None:
    """Whoever is not known in advance may come, too."""
    good["rules"]["x"] = rule
    file.write_text(toml.dump(good))
    if not rule:
        file.write_text(f"{file.read_text()}\n[rules.x]\n")
    assert checked(file) == Checked(0, [])


def test_a_rule_where_nobody_is_known(file: Path) -> None:
    """Then it is for nobody, unless it says so."""
    text = f'default_upstream = "{NAME}"\n[upstreams."{NAME}"]\nurl = "https://{NAME}"\n[rules.x]\n'
    file.write_text(text)
    checked(file).only("rules.x", "nobody", severity="warning")
    file.write_text(f"{text}principals = ['anonymous']\n")
    assert checked(file) == Checked(0, [])


@pytest.mark.parametrize(
    ("listen", "is_said"),
    [
        ("0.0.0.0:5000", True),
        ("[::]:5000", True),
        ("8.8.8.8:5000", True),
        ("10.0.0.1:5000", False),
        ("[::1]:80", False),
    ],
)
def test_a_listener_that_is_open(file: Path, listen: str, is_said: bool) -> None:  # noqa: FBT001 - it is the expectation
    """Where nobody is told from others, strangers are not to get there; a network of the builders' own is meant."""
    upstream = {"url": f"https://{NAME}"}
    settings = {"default_upstream": NAME, "upstreams": {NAME: upstream}, "listeners": {"a": {"listen": listen}}}
    file.write_text(toml.dump(settings))
    assert [each["key"] for each in checked(file).problems] == (["listeners.a.listen"] if is_said else [])


def test_two_in_one_place(good: Settings, file: Path) -> None:
    """Both are named."""
    good["listeners"]["local"]["listen"] = f"unix:{good['admin']['socket']}"
    good["listeners"]["twice"] = good["listeners"]["network"]
    file.write_text(toml.dump(good))
    assert [each["key"] for each in checked(file).problems] == [
        f"listeners.{name}.listen" for name in ("network", "local", "twice")
    ]


def test_what_others_may_read(good: Settings, files: Path, file: Path) -> None:
    """Everybody: a file with a secret that they get to; whoever keeps them out by a directory above it has done so."""
    secret = files / "exposed"
    secret.write_text("correct-horse")
    secret.chmod(0o644)
    good["upstreams"]["token.example.com"]["token_file"] = str(secret)
    file.write_text(toml.dump(good))
    checked(file).only('upstreams."token.example.com".token_file', "by everybody", severity="warning")
    files.chmod(0o700)
    try:
        assert checked(file) == Checked(0, [])
    finally:
        files.chmod(0o755)


def test_who_may_write_the_settings(good: Settings, files: Path) -> None:
    """Whoever may do that decides what the daemon runs."""
    file = files / "config.toml"
    file.write_text(toml.dump(good))
    file.chmod(0o666)
    checked(file).only("", "by everybody", severity="warning")


def test_a_secret_in_the_environment(good: Settings, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at, and left for whoever looks next; what it says is not repeated."""
    monkeypatch.setenv("USERS", "alice:hunter2")
    good["identity"]["htpasswd"] = "env:USERS"
    file.write_text(toml.dump(good))
    for _ in range(2):
        found = checked(file)
        found.only("identity.htpasswd", "env:USERS: line 1", "bcrypt")
        assert "hunter2" not in str(found)
    assert os.environ["USERS"] == "alice:hunter2"


def test_a_credential_of_systemd(good: Settings, files: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they are given to the command, too, it looks at them."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(files))
    good["identity"]["htpasswd"] = "credential:htpasswd"
    file.write_text(toml.dump(good))
    assert checked(file) == Checked(0, [])


def test_everything_at_once(file: Path) -> None:
    """Each problem of the file itself, with its line, or that of the table that it should be in."""
    file.write_text(
        """\
default_upstream = "registry.example.com"
http.idl = 3

[upstreams."registry.example.com"]
url = "https://me:hunter2@registry.example.com"
[upstreams.other]

[listeners.a]
listen = "foo"
[listeners.b]
listen = "127.0.0.1:5000"
group = 3

[replication]
rate = "fast"
jobs = 0
[log]
level = [
  "loud",
]
[containerd]
address = 1
[identity]
jwt = "x"
[rules]
own = 1
"""
    )
    said = CliRunner().invoke(main, ["config", "check", "--config", str(file)])
    assert said.exit_code == 2
    assert "hunter2" not in said.output
    assert f"{file} cannot be used: 11 errors" in said.output
    found = {each["key"]: (each["line"], each["reason"], each["advice"]) for each in checked(file).problems}
    expected: dict[str, tuple[int, str, str]] = {
        "http.idl": (2, "no such key", "Did you mean idle?"),
        'upstreams."registry.example.com"': (4, "url must be", ""),
        "upstreams.other.url": (6, "must be set", "https://registry.example.com"),
        "listeners.a": (8, "'foo'", ""),
        "listeners.b.group": (12, "got `int`", "text"),
        "replication.rate": (15, "got `str`", "whole number, 0 or more"),
        "replication.jobs": (16, ">= 1", "from 1 to 64"),
        "log.level": (18, "[", '"debug"'),
        "containerd.address": (22, "in quotes", "path"),
        "identity.jwt": (24, "no table", "[identity.jwt]"),
        "rules.own": (26, "no table", "[rules.own]"),
    }
    assert found.keys() == expected.keys()
    for key, (line, reason, advice) in expected.items():
        assert found[key][0] == line, key
        assert reason in found[key][1] or key == "log.level", key
        assert advice in found[key][2], key


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), (b"[http\n", "line 1"), (b'default_upstream = "\xe9"', "utf-8")],
    ids=["no file", "no TOML", "no text"],
)
def test_no_settings(file: Path, content: bytes | None, words: str) -> None:
    """What is no settings file at all is one problem, of no key."""
    if content is not None:
        file.write_bytes(content)
    checked(file).only("", words)
