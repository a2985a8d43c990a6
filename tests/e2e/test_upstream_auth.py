"""An upstream that asks who we are: credentials from where operators keep them, and nothing of them anywhere else."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.images import Layout, build_image, busybox
from tests.rig.registry import Registry
from tests.rig.tokens import TokenServer
from tests.rig.until import until
from tests.rig.web import Login
from tests.rig.wire import Wire

NAME = f"{UPSTREAM}/team/app:v1"
LOGIN = Login("builder", "s3cret-pässword")
IDENTITY = "s3cret-identity"

# It notes what anybody on the host could see of it.
HELPER = """#!/bin/sh
tr '\\0' ' ' < /proc/$$/cmdline >> "$0.seen"
cat /proc/$$/environ >> "$0.seen"
[ "$(cat)" = {server} ] && echo '{answer}'
"""


@pytest.fixture
def layout(directory: Path) -> Layout:
    """An image that can run."""
    return build_image(directory / "layout", [busybox(directory.name)])


@pytest.fixture
def tokens(directory: Path) -> Iterator[TokenServer]:
    """A token server that knows a login and an identity token."""
    with TokenServer(directory / "tokens", LOGIN, IDENTITY) as tokens:
        yield tokens


@pytest.fixture
def guarded(directory: Path, tokens: TokenServer) -> Iterator[Registry]:
    """An upstream that asks for tokens."""
    with Registry(directory / "upstream", tokens=tokens) as registry:
        yield registry


def _replicate(daemon: Daemon, upstream: Registry, layout: Layout) -> None:
    """Push an image all the way, and see that it is there."""
    Wire(daemon.url).push("team/app", "v1", layout)
    daemon.wait(NAME, "replicated")
    stored = upstream.manifest("team/app", "v1")
    assert stored is not None
    assert stored.raw == layout.manifest


def _told(daemon: Daemon) -> bytes:
    """All that the daemon writes down or shows: its log, its journal, its command line."""
    files = [daemon.log, *daemon.directory.glob("journal.db*"), Path(f"/proc/{daemon.pid}/cmdline")]
    return b"".join(file.read_bytes() for file in files)


def _assert_no_secret(told: bytes, tokens: TokenServer) -> None:
    given = [token.token for token in tokens.given]
    for secret in ("s3cret", LOGIN.header.removeprefix("Basic "), *given):
        assert secret.encode() not in told


@pytest.mark.parametrize("entry", [{"auth": LOGIN.header.removeprefix("Basic ")}, {"identitytoken": IDENTITY}])
def test_a_docker_config(
    directory: Path,
    containerd: Containerd,
    guarded: Registry,
    tokens: TokenServer,
    layout: Layout,
    entry: dict[str, str],
) -> None:
    """What `docker login` wrote is enough: one token takes the image to its upstream, and no secret is told."""
    config = directory / "docker.json"
    config.write_text(json.dumps({"auths": {UPSTREAM: entry}}))
    settings = {"url": guarded.url, "docker_config": str(config)}
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: settings}) as daemon:
        _replicate(daemon, guarded, layout)
        _assert_no_secret(_told(daemon), tokens)
        assert not daemon.complaints()
    assert len(tokens.given) == 1


def test_a_credential_helper(
    directory: Path,
    containerd: Containerd,
    guarded: Registry,
    tokens: TokenServer,
    layout: Layout,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A helper is asked on its stdin: neither its command line nor its environment tells a secret."""
    helper = directory / "docker-credential-rig"
    answer = json.dumps({"Username": LOGIN.username, "Secret": LOGIN.password})
    helper.write_text(HELPER.format(server=guarded.host, answer=answer))
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    config = directory / "docker.json"
    config.write_text(json.dumps({"credsStore": "rig"}))
    settings = {"url": guarded.url, "docker_config": str(config)}
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: settings}) as daemon:
        _replicate(daemon, guarded, layout)
        seen = Path(f"{helper}.seen").read_bytes()
        assert b"docker-credential-rig get" in seen
        _assert_no_secret(_told(daemon) + seen, tokens)


def test_credentials_that_are_mended(
    directory: Path, containerd: Containerd, guarded: Registry, tokens: TokenServer, layout: Layout
) -> None:
    """A file that is garbled while the daemon runs makes its jobs wait, and is named; once it is whole they go on."""
    config = directory / "docker.json"
    whole = json.dumps({"auths": {guarded.host: {"username": LOGIN.username, "password": LOGIN.password}}})
    config.write_text(whole)
    settings = {"url": guarded.url, "docker_config": str(config)}
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: settings}) as daemon:
        config.write_text(whole[:-3])
        Wire(daemon.url).push("team/app", "v1", layout)
        until(lambda: any(str(config) in str(task["reason"]) for task in daemon.status()["tasks"]), "it says why")
        config.write_text(whole)
        daemon.wait(NAME, "replicated")
        _assert_no_secret(_told(daemon), tokens)


def test_a_login_that_is_refused(
    directory: Path, containerd: Containerd, guarded: Registry, tokens: TokenServer, layout: Layout
) -> None:
    """The job is parked with the words of the token server, which are the last that it was asked for."""
    tokens.login = Login("builder", "another")
    (directory / "password").write_text(LOGIN.password)
    settings = {"url": guarded.url, "username": LOGIN.username, "password_file": str(directory / "password")}
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: settings}) as daemon:
        Wire(daemon.url).push("team/app", "v1", layout)
        done = daemon.cli("wait", NAME, "--for", "replicated", "--timeout", "60")
        assert (done.returncode, "401 UNAUTHORIZED: who are you" in done.stdout) == (1, True), done
        _assert_no_secret(_told(daemon) + done.stdout.encode(), tokens)


@pytest.mark.parametrize(
    "keys",
    [
        {"username": "builder", "password_file": "missing"},
        {"token_file": "missing"},
        {"docker_config": "missing"},
        {"docker_config": "garbled"},
        {"ca_file": "missing"},
        {"client_cert": "garbled", "client_key": "garbled"},
        {"proxy": "http://127.0.0.1:1", "proxy_username": "through", "proxy_password_file": "missing"},
    ],
    ids="-".join,
)
def test_a_file_that_cannot_be_used(directory: Path, containerd: Containerd, keys: dict[str, str]) -> None:
    """It is named at the start, in one line, with the exit code of bad settings."""
    (directory / "garbled").write_text("s3cret")
    files = {key: str(directory / value) if value in {"missing", "garbled"} else value for key, value in keys.items()}
    settings = {"url": "https://127.0.0.1:1", **files}
    daemon = Daemon(directory / "daemon", containerd.address, {UPSTREAM: settings})
    done = subprocess.run(daemon.command(), capture_output=True, text=True, check=False, timeout=60)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, f"upstreams.{UPSTREAM}: {directory}/" in line, "s3cret" in line) == (2, True, False), done


@pytest.mark.parametrize("where", ["credential:upstream", "env:UPSTREAM_PASSWORD"])
def test_a_password_that_is_in_no_file(
    directory: Path,
    containerd: Containerd,
    guarded: Registry,
    tokens: TokenServer,
    layout: Layout,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    """Loaded by systemd or in the environment: it serves as well, and is told nowhere either."""
    credentials = directory / "credentials"
    credentials.mkdir()
    (credentials / "upstream").write_text(LOGIN.password)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    monkeypatch.setenv("UPSTREAM_PASSWORD", LOGIN.password)
    settings = {"url": guarded.url, "username": LOGIN.username, "password_file": where}
    with Daemon(directory / "daemon", containerd.address, {UPSTREAM: settings}) as daemon:
        _replicate(daemon, guarded, layout)
        _assert_no_secret(_told(daemon), tokens)
