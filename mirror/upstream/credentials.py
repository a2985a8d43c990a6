"""Where credentials come from: files that others may renew at any time, so that each is read again when it changed.

Nothing of what they hold is in any error or `repr`.
"""

import asyncio
import base64
import os
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from mirror.core.errors import UpstreamError
from mirror.runtime.watched import UnusableFileError, WatchedFile, text_of

T = TypeVar("T")

_HELPER_TIMEOUT = 30.0
_HELPER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
# What a helper prints, and ends non-zero, when it holds nothing for a server: the protocol has no other way to say so.
_NOT_FOUND = b"credentials not found"
_IDENTITY = "<token>"
_SENDABLE = re.compile(r"[\x21-\x7e]+")
# Docker Hub goes by several names, and docker keeps its login under none of them but this.
_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_HUB_KEY = "https://index.docker.io/v1/"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and a password, for HTTP basic authentication."""

    username: str
    password: str = field(repr=False)

    @property
    def header(self) -> str:
        """The value of `Authorization` (RFC 7617, in UTF-8)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    async def current(self) -> "Credentials":
        """A login that was given as such never changes: it is its own source."""
        return self


@dataclass(frozen=True, slots=True)
class IdentityToken:
    """What a token server gives bearer tokens for, in place of a login (an OAuth2 refresh token)."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class BearerToken:
    """A token to be sent as it is; whoever wrote it to `file` renews it."""

    token: str = field(repr=False)
    file: Path


Secret = Credentials | IdentityToken | BearerToken


class Source(Protocol):
    """Where a transport gets what it may show to its upstream."""

    async def current(self) -> Secret | None:
        """What holds now, None for nothing. Raises UpstreamError (transient) when it cannot be told."""


class PasswordFile:
    """A user name, and a file that holds the password and nothing else but white space around it."""

    def __init__(self, username: str, path: Path) -> None:
        self._file = WatchedFile(path, lambda raw: Credentials(username, text_of(raw)))

    def check(self) -> None:
        """Read the file. Raises UpstreamError, which names it."""
        _current(self._file)

    async def current(self) -> Credentials:
        """The login."""
        return _current(self._file)


class TokenFile:
    """A file that holds a bearer token and nothing else but white space around it."""

    def __init__(self, path: Path) -> None:
        self._file = WatchedFile(path, lambda raw: BearerToken(_sendable(text_of(raw)), path))

    def check(self) -> None:
        """Read the file. Raises UpstreamError, which names it."""
        _current(self._file)

    async def current(self) -> BearerToken:
        """The token."""
        return _current(self._file)


class DockerConfig:
    """A docker `config.json`, and the credential helpers that it names.

    `servers` are the names that the upstream may go by there, the likeliest first; `helper_timeout` is how many seconds
    a helper may take. For each server an entry of `auths` goes before the helper of `credHelpers`, and that one before
    `credsStore`. Helpers are asked at each use, so that what they give is never stale.
    """

    def __init__(self, path: Path, servers: Sequence[str], *, helper_timeout: float = _HELPER_TIMEOUT) -> None:
        self._file = WatchedFile(path, lambda raw: tuple(_offers(raw, path, servers)))
        self._helper_timeout = helper_timeout

    def check(self) -> None:
        """Read the file. Raises UpstreamError, which names it."""
        _current(self._file)

    async def current(self) -> Secret | None:
        """The first that there is; None when nothing there is about this upstream."""
        for offer in _current(self._file):
            secret = await offer.ask(self._helper_timeout) if isinstance(offer, _Helper) else offer
            if secret is not None:
                return secret
        return None


def _current(file: WatchedFile[T]) -> T:
    try:
        return file.get()
    except UnusableFileError as error:
        raise UpstreamError(str(error), transient=True) from error


def _sendable(token: str) -> str:
    if not _SENDABLE.fullmatch(token):
        raise ValueError("holds a token that cannot be sent")
    return token


# --- docker's config.json -----------------------------------------------------------------------------------------


class _Entry(msgspec.Struct, frozen=True):
    auth: str = ""
    username: str = ""
    password: str = ""
    identitytoken: str = ""
    registrytoken: str = ""

    def secret(self, file: Path) -> Secret | None:
        """What it holds; None for the empty entry that docker leaves beside a helper."""
        if self.registrytoken:
            return BearerToken(_sendable(self.registrytoken), file)
        if self.identitytoken:
            return IdentityToken(self.identitytoken)
        username, password = _decoded(self.auth) if self.auth else (self.username, self.password)
        return _secret(username, password) if username else None


class _Config(msgspec.Struct, frozen=True, rename="camel"):
    auths: dict[str, _Entry] | None = None
    cred_helpers: dict[str, str] | None = None
    creds_store: str | None = None


@dataclass(frozen=True, slots=True)
class _Helper:
    """`docker-credential-<name>`, asked about one server.

    Source: docker's credential helper protocol: the server on stdin, JSON on stdout.
    """

    name: str
    server: str

    async def ask(self, seconds: float) -> Secret | None:
        """What it holds for the server, None for nothing. Raises UpstreamError (transient), with no output of it."""
        try:
            async with asyncio.timeout(seconds):
                status, output = await self._run()
        except TimeoutError:
            raise self._failure(f"no answer within {seconds:g} s") from None
        except OSError as error:
            raise self._failure(error.strerror or "cannot be run") from error
        if status:
            if output.startswith(_NOT_FOUND):
                return None
            raise self._failure(f"ended with {status}")
        try:
            answer = msgspec.json.decode(output, type=_HelperAnswer)
        except ValueError:
            raise self._failure("its answer is not what it should be") from None
        return _secret(answer.username, answer.secret)

    async def _run(self) -> tuple[int, bytes]:
        process = await asyncio.create_subprocess_exec(
            f"docker-credential-{self.name}",
            "get",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            output, _ = await process.communicate(self.server.encode())
        finally:
            if process.returncode is None:
                _kill_group(process.pid)
                await process.wait()
        return process.returncode or 0, output

    def _failure(self, why: str) -> UpstreamError:
        return UpstreamError(f"docker-credential-{self.name}: {why}", transient=True)


def _kill_group(leader: int) -> None:
    """A helper may be a script: what it started must not outlive it, nor hold its pipes open."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


class _HelperAnswer(msgspec.Struct, frozen=True, rename="pascal"):
    username: str
    secret: str


def _offers(raw: bytes, file: Path, servers: Sequence[str]) -> Iterator[Secret | _Helper]:
    """What a config.json has about some servers, the first choice first."""
    config = msgspec.json.decode(raw, type=_Config)
    entries = {_server(key): entry for key, entry in (config.auths or {}).items()}
    helpers = {_server(key): name for key, name in (config.cred_helpers or {}).items()}
    for server in dict.fromkeys(map(_server, servers)):
        secret = entries.get(server, _Entry()).secret(file)
        if secret is not None:
            yield secret
        for name in (helpers.get(server), config.creds_store):
            if name:
                yield _Helper(_checked(name), server)


def _server(key: str) -> str:
    """A key of the file as a bare `host[:port]`: docker used to write `https://host/v1/`."""
    host = key.partition("://")[2] or key
    host = host.partition("/")[0].lower()
    return _HUB_KEY if host in _HUB else host


def _checked(helper: str) -> str:
    if not _HELPER_NAME.fullmatch(helper):
        raise ValueError("names a credential helper that is no plain name")
    return helper


def _decoded(auth: str) -> tuple[str, str]:
    try:
        username, colon, password = base64.b64decode(auth, validate=True).decode().partition(":")
    except ValueError:
        colon = ""
    if not colon:
        raise ValueError("holds an `auth` that is not base64 of user:password")
    return username, password.strip("\0")


def _secret(username: str, password: str) -> Secret:
    return IdentityToken(password) if username == _IDENTITY else Credentials(username, password)
