"""Users with passwords: a file as `htpasswd -B` writes it."""

import asyncio
import hmac
import re
import secrets
from collections import Counter, OrderedDict
from collections.abc import Mapping
from pathlib import Path

import bcrypt

from mirror.core.access import Principal
from mirror.core.ports import Clock
from mirror.identity.caller import TooManyLoginsError
from mirror.runtime.watched import WatchedFile

_LINE = re.compile(r"([^:\s][^:]{0,254}):(\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53})")
_LONGEST_PASSWORD = 72  # bcrypt sees no more of it
_AT_ONCE = 2
_WAITING_EACH = 8
_REMEMBERED = 1024
_REMEMBERED_FOR = 300.0

_Users = Mapping[str, bytes]


class Htpasswd:
    """Checks user names and passwords, in threads, because bcrypt is slow on purpose.

    So what came of a check is remembered for five minutes, or until the file changes: by a keyed hash, as no password
    is to lie in memory. Two are checked at once; of one source no more than eight wait, so that somebody who guesses
    does not keep others out.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._file = WatchedFile(path, _users)
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._waiting = Counter[str]()
        self._users: _Users = {}
        self._known = OrderedDict[bytes, tuple[float, bool]]()

    def check(self) -> None:
        """Read the file. Raises UnusableFileError."""
        self._file.get()

    async def principal(self, user: str, password: str, source: str) -> Principal | None:
        """The user, None if there is none like that. Raises UnusableFileError, TooManyLoginsError."""
        users = self._file.get()
        if users is not self._users:
            self._users = users
            self._known.clear()
        mark = hmac.digest(self._key, f"{user}\0{password}".encode(), "sha256")
        right = self._remembered(mark)
        if right is None:
            right = await self._compare(users, user, password, source)
            if users is self._users:
                self._remember(mark, right=right)
        return Principal("basic", user) if right else None

    async def _compare(self, users: _Users, user: str, password: str, source: str) -> bool:
        """As long for a user that there is as for one that there is not."""
        if self._waiting[source] >= _WAITING_EACH:
            raise TooManyLoginsError
        self._waiting[source] += 1
        try:
            async with self._slots:
                hashed = users.get(user) or _nobodys(users)
                return await asyncio.to_thread(_matches, password, hashed)
        finally:
            self._waiting[source] -= 1
            self._waiting += Counter()  # forgets those that have none

    def _remembered(self, mark: bytes) -> bool | None:
        until, right = self._known.get(mark, (0.0, False))
        return right if until > self._clock.monotonic() else None

    def _remember(self, mark: bytes, *, right: bool) -> None:
        self._known[mark] = self._clock.monotonic() + _REMEMBERED_FOR, right
        self._known.move_to_end(mark)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


def _matches(password: str, hashed: bytes) -> bool:
    secret = password.encode()
    if len(secret) > _LONGEST_PASSWORD or b"\0" in secret:
        return False
    return bcrypt.checkpw(secret, hashed)


def _nobodys(users: _Users) -> bytes:
    """A hash that no password has, and that takes as long to compare as those of the file."""
    cost = max((_cost(hashed) for hashed in users.values()), default=4)
    return f"$2b${cost:02}${'.' * 53}".encode()


def _cost(hashed: bytes) -> int:
    return int(hashed.split(b"$")[2])


def _users(raw: bytes) -> _Users:
    return dict(_user(number, line) for number, line in enumerate(raw.decode().splitlines(), 1) if _says(line))


def _says(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("#")


def _user(number: int, line: str) -> tuple[str, bytes]:
    match = _LINE.fullmatch(line.strip())
    if match is None:
        raise ValueError(f"line {number} is not user:hash of bcrypt, as `htpasswd -B` writes it")
    return match[1], match[2].encode()
