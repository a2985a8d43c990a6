"""Secrets that are not in files of their own: systemd's credentials, and the environment."""

import os
import subprocess
from pathlib import Path

import pytest

from mirror.app.secrets import located, looked_at
from mirror.config import Identity, Jwt, Listener, Settings, SettingsError, Tls, Upstream

NAME = "registry.example.com"


def settings(path: str) -> Settings:
    """Settings with a password there."""
    upstream = Upstream(url="https://registry.example.com", username="builder", password_file=Path(path))
    return Settings(default_upstream=NAME, upstreams={NAME: upstream})


def password_file(path: str) -> Path:
    """Where the password is in the end."""
    found = located(settings(path)).upstreams[NAME].password_file
    assert found
    return found


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What systemd has loaded."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "upstream").write_text("s3cret")
    return tmp_path


def test_a_file() -> None:
    """It is what it is, wherever it may lead."""
    assert password_file("/etc/password") == Path("/etc/password")


def test_a_credential(credentials: Path) -> None:
    """It is a file of the directory that systemd made."""
    assert password_file("credential:upstream") == credentials / "upstream"


@pytest.mark.parametrize("name", ["", "other", "../upstream", "/etc/passwd"])
def test_no_such_credential(credentials: Path, name: str) -> None:
    """Nothing outside of that directory is one."""
    assert credentials
    with pytest.raises(SettingsError, match="no such credential"):
        located(settings(f"credential:{name}"))


def test_no_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Started by hand there are none."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(SettingsError, match="CREDENTIALS_DIRECTORY is not set"):
        located(settings("credential:upstream"))


def test_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be read as a file, as often as it is needed, and whatever is started from here does not see it."""
    monkeypatch.setenv("UPSTREAM_PASSWORD", "s3cret: öffne")
    file = password_file("env:UPSTREAM_PASSWORD")
    assert [file.read_text(), file.read_text()] == ["s3cret: öffne"] * 2
    assert "s3cret" not in str(file)
    child = subprocess.run(["sh", "-c", f"env; cat {file}"], capture_output=True, text=True, check=False)
    assert "s3cret" not in child.stdout


def test_one_variable_for_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two settings may mean the same secret."""
    monkeypatch.setenv("BOTH", "s3cret")
    upstream = Upstream(
        url="https://registry.example.com",
        username="builder",
        password_file=Path("env:BOTH"),
        proxy="http://proxy.example.com:3128",
        proxy_username="builder",
        proxy_password_file=Path("env:BOTH"),
    )
    found = located(Settings(default_upstream=NAME, upstreams={NAME: upstream})).upstreams[NAME]
    assert found.password_file == found.proxy_password_file != Path("env:BOTH")
    assert "BOTH" not in os.environ


def test_no_such_variable() -> None:
    """It is named."""
    with pytest.raises(SettingsError, match="env:NOT_THERE: there is no such variable"):
        located(settings("env:NOT_THERE"))


def test_everywhere(credentials: Path) -> None:
    """Also deep inside: in listeners, proofs and what they consist of."""
    there, file = Path("credential:upstream"), credentials / "upstream"
    found = located(
        Settings(
            default_upstream=NAME,
            upstreams={NAME: Upstream(url="https://registry.example.com")},
            listeners={"a": Listener(tls=Tls(certificate=there, key=there, client_ca=there))},
            identity=Identity(htpasswd=there, tokens=there, jwt=Jwt(keys=there, audience="a", issuer="b")),
        )
    )
    assert found.listeners["a"].tls == Tls(certificate=file, key=file, client_ca=file)
    assert (found.identity.htpasswd, found.identity.tokens) == (file, file)
    assert found.identity.jwt == Jwt(keys=file, audience="a", issuer="b")


def test_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that only looks finds a variable again."""
    monkeypatch.setenv("UPSTREAM_PASSWORD", "s3cret")
    for _ in range(2):
        file = looked_at(settings("env:UPSTREAM_PASSWORD")).upstreams[NAME].password_file
        assert file
        assert file.read_text() == "s3cret"
    assert os.environ["UPSTREAM_PASSWORD"] == "s3cret"  # noqa: S105 - it is none
