"""Whether the settings can be used, and what is hardly meant by them: all that can be told without a connection."""

import grp
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from mirror import config
from mirror.app.caveats import caveats
from mirror.app.connection import secrets, trust
from mirror.app.listeners import Proofs, server_tls
from mirror.app.secrets import looked_at
from mirror.app.tracing import INSTALL, exporter
from mirror.config.kinds import File, Section
from mirror.config.problems import Problem, problems
from mirror.config.shape import Leaf, leaves
from mirror.runtime.clock import SystemClock
from mirror.upstream.tls import tls_context

_Names = tuple[str, ...]

_PLACE = re.compile(r" \(_ssl\.c:\d+\)")
_LONGEST_SOCKET = 107  # bytes: unix(7), sun_path
_LOGIN = "Write the password there, and nothing else."
_PAIR = "Both must be in PEM, without a passphrase, and the key must be the certificate's own."
_AUTHORITIES = "It must hold the certificates of authorities, in PEM."
# What of an upstream's settings belongs together, how it is used, and what it has to be.
_UPSTREAM: tuple[tuple[tuple[str, ...], Callable[[str, config.Upstream], object], str], ...] = (
    (("ca_file",), trust, _AUTHORITIES),
    (("client_cert", "client_key"), trust, _PAIR),
    (("username", "password_file"), secrets, _LOGIN),
    (("token_file",), secrets, "Write the token there, and nothing else."),
    (("docker_config",), secrets, "Write a config.json there, as `docker login` does."),
    (("proxy", "proxy_username", "proxy_password_file"), secrets, _LOGIN),
)
_IDENTITY = (
    ("htpasswd", "Write it with `htpasswd -B`."),
    ("tokens", "Write a line name:hash for each token, of its SHA-256 in hexadecimal."),
    ("jwt", "It must hold a JWKS, or one public key in PEM."),
)


@dataclass(frozen=True, slots=True)
class _Part:
    """Files that the daemon uses together: a part of the settings that has no others, and what is done with it."""

    path: tuple[str, ...]
    settings: Section
    use: Callable[[Any], object]
    advice: str

    @property
    def files(self) -> list[tuple[str, ...]]:
        return [leaf.path for leaf in _files(self.settings, self.path)]


def check(path: Path) -> list[Problem]:
    """What is wrong with the settings at `path` and with what they name, and what is hardly meant; errors come first.

    Files are looked at as the daemon does when it starts. Nothing is written, and nobody is asked.
    """
    found = problems(path)
    if not found:
        settings = config.load(path)
        found = [*_exposed(path), *_in_files(settings), *_places(settings), *_missing(settings), *caveats(settings)]
    return sorted(found, key=lambda problem: problem.is_warning)


def _files(settings: Section, path: tuple[str, ...] = ()) -> list[Leaf]:
    return [leaf for leaf in leaves(settings, path) if leaf.key.extra.get("file") and leaf.value is not None]


def _in_files(settings: config.Settings) -> Iterator[Problem]:
    unusable = {leaf.path: problem for leaf in _files(settings) for problem in _unusable(leaf)}
    yield from unusable.values()
    for leaf in _files(settings):
        if leaf.key.extra.get("secret") and leaf.path not in unusable and _others_may(stat.S_IROTH, leaf.value):
            yield Problem(
                leaf.path, f"{leaf.value} can be read by everybody", f"chmod o= {leaf.value}", is_warning=True
            )
    for part in _parts(settings):
        if unusable.keys().isdisjoint(part.files):
            yield from _unused(part)


def _unusable(leaf: Leaf) -> Iterator[Problem]:
    """Why a file cannot be read. What only the daemon is given is no error of the settings, but cannot be looked at."""
    try:
        looked_at(_Named(file=leaf.value)).file.read_bytes()
    except config.SettingsError as error:
        advice = "This command is not given what the daemon is: see that the unit has it."
        yield Problem(leaf.path, f"not looked at: {error}", advice, is_warning=True)
    except PermissionError:
        advice = f"Run this as the daemon's user, or let it read {leaf.value}."
        yield Problem(leaf.path, f"user {os.geteuid()} may not read {leaf.value}", advice, is_warning=os.geteuid() != 0)
    except OSError as error:
        yield Problem(leaf.path, f"{leaf.value}: {error.strerror}", "Write the file, or correct its path.")


class _Named(Section, frozen=True):
    file: Path


def _parts(settings: config.Settings) -> Iterator[_Part]:
    for name, upstream in settings.upstreams.items():
        for keys, use, advice in _UPSTREAM:
            part = config.Upstream(url=upstream.url, **{key: getattr(upstream, key) for key in keys})
            yield _Part(("upstreams", name), part, partial(use, name), advice)
    for name, listener in settings.listeners.items():
        if listener.tls:
            pair, authorities = msgspec.structs.replace(listener.tls, client_ca=None), listener.tls.client_ca
            yield _Part(("listeners", name, "tls"), pair, partial(server_tls, name), _PAIR)
            if authorities:
                alone = _Authorities(client_ca=authorities)
                yield _Part(("listeners", name, "tls"), alone, _read_authorities, _AUTHORITIES)
    for key, advice in _IDENTITY:
        identity = config.Identity(**{key: getattr(settings.identity, key)})
        yield _Part(("identity",), identity, lambda part: Proofs(part, SystemClock()), advice)


class _Authorities(Section, frozen=True):
    client_ca: File


def _read_authorities(part: _Authorities) -> None:
    tls_context(part.client_ca, None, None)


def _unused(part: _Part) -> Iterator[Problem]:
    """Why the daemon could not do with the files what it does."""
    found = looked_at(part.settings)
    try:
        part.use(found)
    except (config.SettingsError, ValueError) as error:
        reason = _why(error)
        for leaf, said in zip(_files(found), _files(part.settings), strict=True):
            reason = reason.replace(str(leaf.value), str(said.value))
        yield Problem(part.files[0], reason, part.advice)


def _why(error: Exception) -> str:
    """What a room said of a file, without which upstream or listener it is, nor where in OpenSSL that was found."""
    text = str(error.__cause__ or error)
    if "KEY_VALUES_MISMATCH" in text:
        return "the key is not that of the certificate"
    return _PLACE.sub("", f"cannot be used: {text}" if text.startswith("[") else text)


def _missing(settings: config.Settings) -> Iterator[Problem]:
    """What has to be installed beside us."""
    if settings.tracing.endpoint:
        try:
            exporter()
        except config.SettingsError:
            reason = "needs OpenTelemetry, which is not installed here"
            yield Problem(("tracing", "endpoint"), reason, f"{INSTALL}, where the daemon runs.")


def _exposed(path: Path) -> Iterator[Problem]:
    if _others_may(stat.S_IWOTH, path):
        yield Problem((), "can be written by everybody", f"chmod o-w {path}", is_warning=True)


def _others_may(what: int, file: Path) -> bool:
    """Whether those who are neither the owner nor in the group may do this to a file, and get there."""
    if not file.exists():
        return False
    file = file.resolve()
    return bool(file.stat().st_mode & what) and all(parent.stat().st_mode & stat.S_IXOTH for parent in file.parents)


def _places(settings: config.Settings) -> Iterator[Problem]:
    """What listens where, and who may come."""
    listeners: dict[_Names, config.Listener] = {("listeners", name): each for name, each in settings.listeners.items()}
    groups: dict[_Names, str | None] = {("admin",): settings.admin.group}
    groups |= {path: listener.group for path, listener in listeners.items()}
    for path, group in groups.items():
        if group and not _is_group(group):
            advice = f"groupadd --system {group}, or correct the name."
            yield Problem((*path, "group"), f"there is no group {group}", advice)
    sockets: dict[_Names, Path] = {("admin", "socket"): settings.admin.socket}
    sockets |= {(*path, "listen"): listener.socket for path, listener in listeners.items() if listener.socket}
    for path, socket in sockets.items():
        yield from _socket(path, socket)
    taken = Counter(listener.listen for listener in listeners.values())
    taken.update([settings.admin.listen] if settings.admin.listen else [])
    taken.update([f"unix:{settings.admin.socket}", f"unix:{settings.admin.push_socket}"])
    for path, listener in listeners.items():
        if taken[listener.listen] > 1:
            yield Problem((*path, "listen"), f"{listener.listen} is taken by another listener", "Choose another place.")


def _is_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _socket(key: tuple[str, ...], path: Path) -> Iterator[Problem]:
    if len(os.fsencode(path)) > _LONGEST_SOCKET:
        yield Problem(key, f"is longer than the {_LONGEST_SOCKET} bytes of a socket's path", "Choose a shorter path.")
    elif path.exists() and not path.is_socket():
        yield Problem(key, f"{path} is there, and is no socket", "Choose another path, or remove what is there.")
