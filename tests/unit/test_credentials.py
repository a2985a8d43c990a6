"""Where credentials come from: files of every shape, and what is said when they are of none."""

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mirror.core.errors import UpstreamError
from mirror.upstream.credentials import (
    BearerToken,
    Credentials,
    DockerConfig,
    IdentityToken,
    PasswordFile,
    Secret,
    Source,
    TokenFile,
)

SERVERS = ("registry.example.com:5443", "registry.example.com")
LOGIN = Credentials("builder", "pässword: 42")
AUTH = base64.b64encode(f"{LOGIN.username}:{LOGIN.password}".encode()).decode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "secret"


class TestPasswordFile:
    async def test_the_password(self, file: Path) -> None:
        """White space around it does not belong to it."""
        assert await PasswordFile("builder", put(file, f"\n {LOGIN.password}\n")).current() == LOGIN

    async def test_it_is_renewed(self, file: Path) -> None:
        """A new content counts at the next use: by its length, by its age, or by a rename alone."""
        source = PasswordFile("builder", aged(put(file, "first")))
        assert await source.current() == Credentials("builder", "first")
        aged(put(file, "second"))
        assert await source.current() == Credentials("builder", "second")
        aged(put(file, "thirds"), seconds=1)
        assert await source.current() == Credentials("builder", "thirds")
        aged(put(file.with_name("new"), "fourth"), seconds=1).rename(file)
        assert await source.current() == Credentials("builder", "fourth")

    async def test_it_goes_and_comes_back(self, file: Path) -> None:
        """While it is away there is no login, for the file may be about to be written."""
        source = PasswordFile("builder", file)
        assert "No such file" in str(await refusal(source, file))
        put(file, "first")
        assert await source.current() == Credentials("builder", "first")
        remove(file)
        assert "No such file" in str(await refusal(source, file))

    @pytest.mark.parametrize(("raw", "words"), [(b" \n", "is empty"), (b"\xe9pass", "is no text")])
    async def test_what_is_no_password(self, file: Path, raw: bytes, words: str) -> None:
        """Nothing, or bytes that are no text."""
        assert words in str(await refusal(PasswordFile("builder", put(file, raw)), file))


class TestTokenFile:
    async def test_the_token(self, file: Path) -> None:
        """It is taken as it is, and says where it is from."""
        token = await TokenFile(put(file, "abc.def\n")).current()
        assert token == BearerToken("abc.def", file)
        assert "abc.def" not in repr(token)

    @pytest.mark.parametrize("text", ["", "two words", "line\nbreak", "é"])
    async def test_what_is_no_token(self, file: Path, text: str) -> None:
        """What could not be sent in a header is refused where it is read."""
        await refusal(TokenFile(put(file, text)), file)


def put(file: Path, content: str | bytes) -> Path:
    """Write a file."""
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def remove(file: Path) -> None:
    """Take a file away."""
    file.unlink()


def aged(file: Path, seconds: int = 0) -> Path:
    """Set the time at which it was written."""
    os.utime(file, (seconds, seconds))
    return file


def written(file: Path, config: object) -> Path:
    """A config.json."""
    return put(file, json.dumps(config))


async def refusal(source: Source, file: Path) -> UpstreamError:
    """The error that a source ends with: transient, and by the name of the file."""
    with pytest.raises(UpstreamError, match=str(file)) as raised:
        await source.current()
    assert raised.value.transient
    return raised.value


ENTRIES: dict[str, tuple[dict[str, str], Callable[[Path], Secret | None]]] = {
    "auth": ({"auth": AUTH}, lambda _: LOGIN),
    "auth before a name": ({"auth": AUTH, "username": "other", "password": "x"}, lambda _: LOGIN),
    "name and password": ({"username": "builder", "password": LOGIN.password}, lambda _: LOGIN),
    "identity token": ({"auth": AUTH, "identitytoken": "abc"}, lambda _: IdentityToken("abc")),
    "identity token as a login": ({"username": "<token>", "password": "abc"}, lambda _: IdentityToken("abc")),
    "registry token": ({"auth": AUTH, "registrytoken": "abc"}, lambda file: BearerToken("abc", file)),
    "an e-mail beside it": ({"auth": AUTH, "email": "me@example.com"}, lambda _: LOGIN),
    "nothing": ({}, lambda _: None),
}


class TestDockerConfig:
    @pytest.mark.parametrize(("entry", "secret"), ENTRIES.values(), ids=ENTRIES)
    async def test_an_entry(self, file: Path, entry: dict[str, str], secret: Callable[[Path], Secret | None]) -> None:
        """Each way in which docker and its kin write credentials."""
        source = DockerConfig(written(file, {"auths": {SERVERS[0]: entry}}), SERVERS)
        assert await source.current() == secret(file)

    @pytest.mark.parametrize(
        "key",
        [
            "registry.example.com:5443",
            "https://registry.example.com:5443",
            "https://registry.example.com:5443/v1/",
            "registry.example.com:5443/v2/",
            "Registry.Example.com",
        ],
    )
    async def test_a_key(self, file: Path, key: str) -> None:
        """By the host of the upstream or by its name, with what docker used to write around it."""
        source = DockerConfig(written(file, {"auths": {"other.example.com": {}, key: {"auth": AUTH}}}), SERVERS)
        assert await source.current() == LOGIN

    async def test_the_host_goes_before_the_name(self, file: Path) -> None:
        """Where the upstream is says more than what it is called."""
        entries = {SERVERS[1]: {"username": "name", "password": "x"}, SERVERS[0]: {"auth": AUTH}}
        assert await DockerConfig(written(file, {"auths": entries}), SERVERS).current() == LOGIN

    @pytest.mark.parametrize("server", ["docker.io", "registry-1.docker.io"])
    async def test_docker_hub(self, file: Path, server: str) -> None:
        """Its login is under a key of its own, whatever it is called."""
        config = written(file, {"auths": {"https://index.docker.io/v1/": {"auth": AUTH}}})
        assert await DockerConfig(config, [server]).current() == LOGIN

    @pytest.mark.parametrize("config", [{}, {"auths": None}, {"auths": {"other.example.com": {"auth": AUTH}}}])
    async def test_nothing_about_this_upstream(self, file: Path, config: object) -> None:
        """No credentials is no error."""
        assert await DockerConfig(written(file, config), SERVERS).current() is None

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            '{"auths": {"registry.example.com": {"auth": "hunter2!"}}}',
            '{"auths": {"registry.example.com": {"auth": "aHVudGVyMg=="}}}',
            '{"auths": {"registry.example.com": {"auth": ["hunter2"]}}}',
            '{"auths": {"registry.example.com": {"registrytoken": "hunter2\\n"}}}',
            '{"auths": {"registry.example.com": {"auth": "hunter2',
            '{"credsStore": "../hunter2"}',
        ],
    )
    async def test_a_garbled_file(self, file: Path, text: str) -> None:
        """Named, with nothing of what it holds."""
        error = await refusal(DockerConfig(put(file, text), SERVERS), file)
        assert not [secret for secret in ("hunter2", "aHVudGVyMg") if secret in f"{error} {error.__cause__!r}"]


@pytest.mark.parametrize("secret", [LOGIN, IdentityToken("pässword"), BearerToken("pässword", Path("/file"))])
def test_secrets_do_not_show_themselves(secret: Secret) -> None:
    """Neither alone nor inside of something that is printed."""
    assert "pässword" not in f"{secret!r} {secret} {[secret]}"


HELPER = """#!/bin/sh
echo "$0 $1" >> "$ASKED"
server=$(cat)
case $server in
    registry.example.com:5443) printf '{"ServerURL": "%s", "Username": "builder", "Secret": "hunter2"}' "$server" ;;
    https://index.docker.io/v1/) printf '{"Username": "<token>", "Secret": "hunter2"}' ;;
    broken.example.com) echo hunter2; echo hunter2 >&2; exit 3 ;;
    garbled.example.com) echo '{"Username": "hunter2"' ;;
    slow.example.com) sleep 60; echo ;;
    *) echo 'credentials not found in native keychain'; exit 1 ;;
esac
"""


def calls(asked: Path) -> list[str]:
    """The command lines of the helpers that were asked."""
    return asked.read_text().splitlines() if asked.exists() else []


class TestHelper:
    @pytest.fixture(autouse=True)
    def asked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Helpers on PATH that note that they were asked."""
        for name in ("rig", "other"):
            helper = tmp_path / f"docker-credential-{name}"
            helper.write_text(HELPER)
            helper.chmod(0o755)
        asked = tmp_path / "asked"
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        monkeypatch.setenv("ASKED", str(asked))
        return asked

    @pytest.mark.parametrize(
        "config",
        [
            {"credHelpers": {SERVERS[0]: "rig"}},
            {"credHelpers": {f"https://{SERVERS[0]}": "rig", SERVERS[1]: "other"}, "credsStore": "other"},
            {"auths": {SERVERS[0]: {}}, "credsStore": "rig"},
            {"credHelpers": {SERVERS[0]: "rig"}, "auths": {SERVERS[1]: {"auth": AUTH}}},
        ],
    )
    async def test_it_is_asked(self, file: Path, asked: Path, config: object) -> None:
        """The helper of the server before the store of all, and once for each use."""
        source = DockerConfig(written(file, config), SERVERS)
        assert await source.current() == Credentials("builder", "hunter2")
        assert calls(asked) == [f"{asked.with_name('docker-credential-rig')} get"]

    async def test_an_entry_goes_before_it(self, file: Path, asked: Path) -> None:
        """What the file says itself needs no helper."""
        config = {"auths": {SERVERS[0]: {"auth": AUTH}}, "credsStore": "rig"}
        assert await DockerConfig(written(file, config), SERVERS).current() == LOGIN
        assert calls(asked) == []

    async def test_it_gives_an_identity_token(self, file: Path) -> None:
        """Which it says by the user name; for Docker Hub it is asked by docker's own key."""
        source = DockerConfig(written(file, {"credsStore": "rig"}), ["docker.io"])
        assert await source.current() == IdentityToken("hunter2")

    async def test_it_has_nothing(self, file: Path) -> None:
        """What it holds for the next name counts, and nothing at all is no error."""
        config = {"auths": {"named": {"auth": AUTH}}, "credsStore": "rig"}
        assert await DockerConfig(written(file, config), ["unknown", "named"]).current() == LOGIN
        assert await DockerConfig(file, ["unknown"]).current() is None

    @pytest.mark.parametrize(
        ("server", "words", "seconds"),
        [
            ("broken.example.com", "docker-credential-rig: ended with 3", 30.0),
            ("garbled.example.com", "docker-credential-rig: its answer is not what it should be", 30.0),
            ("slow.example.com", "docker-credential-rig: no answer within 0.3 s", 0.3),
            ("missing.example.com", "docker-credential-nosuch: No such file", 30.0),
        ],
    )
    async def test_it_fails(self, file: Path, server: str, words: str, seconds: float) -> None:
        """Transient, by its name, with nothing of what it printed."""
        config = written(file, {"credHelpers": {"missing.example.com": "nosuch"}, "credsStore": "rig"})
        with pytest.raises(UpstreamError, match=words) as refusal:
            await DockerConfig(config, [server], helper_timeout=seconds).current()
        assert refusal.value.transient
        assert "hunter2" not in f"{refusal.value} {refusal.value.__cause__!r}"
