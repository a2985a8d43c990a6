"""Bearer tokens that an operator gave out: a file of names and hashes."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from mirror.core.access import Principal
from mirror.runtime.watched import WatchedFile

_LINE = re.compile(r"([^:\s][^:]{0,254}):([0-9a-f]{64})")


class TokenList:
    """Tokens by their SHA-256, one `name:hash` a line, so that whoever reads the file cannot use them.

    A fast hash will do, and is found by a plain look-up: tokens are long and random, unlike passwords.
    """

    def __init__(self, path: Path) -> None:
        self._file = WatchedFile(path, _names)

    def check(self) -> None:
        """Read the file. Raises UnusableFileError."""
        self._file.get()

    def principal(self, token: str) -> Principal | None:
        """See `Bearers`."""
        name = self._file.get().get(hashlib.sha256(token.encode()).hexdigest())
        return Principal("token", name) if name else None


def _names(raw: bytes) -> Mapping[str, str]:
    lines = enumerate(raw.decode().splitlines(), 1)
    return dict(_entry(number, line) for number, line in lines if line.strip() and not line.startswith("#"))


def _entry(number: int, line: str) -> tuple[str, str]:
    match = _LINE.fullmatch(line.strip())
    if match is None:
        raise ValueError(f"line {number} is not name:hash, of the token's SHA-256 in hexadecimal")
    return match[2], match[1]
