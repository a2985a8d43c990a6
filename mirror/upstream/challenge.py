"""What an upstream asks for with a 401: the reading of `WWW-Authenticate`.

Source: RFC 9110 section 11.6.1 (challenges and their parameters), RFC 6750 section 3 (`Bearer`), distribution's token
specification (`realm`, `service`).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from yarl import URL

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_END = r"(?=[ \t]*(?:,|$))"
_SPACE = re.compile(r"[ \t,]*")
# A value without quotes may hold what a token may not: servers write URLs that way.
_PARAMETER = re.compile(rf'({_WORD})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_SCHEME = re.compile(rf"({_WORD})(?:[ \t]+[A-Za-z0-9._~+/-]+=*{_END}|{_END}|(?=[ \t]))")
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """Where tokens are to be had, and for which service.

    The scope of the challenge is left out: it names what one request needs, and whoever works on a job knows better
    what the whole of it will.
    """

    realm: URL
    service: str


def bearer_challenge(headers: Sequence[str]) -> Challenge | None:
    """The first challenge of these `WWW-Authenticate` headers that asks for a token; None when none does."""
    for header in headers:
        for scheme, parameters in challenges(header):
            realm = _realm(parameters.get("realm", ""))
            if scheme == "bearer" and realm is not None:
                return Challenge(realm, parameters.get("service", ""))
    return None


def challenges(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Scheme and parameters of each challenge, their names in lower case; what follows nonsense is not read."""
    scheme, parameters, at = "", dict[str, str](), _skip(header, 0)
    while at < len(header):
        if scheme and (found := _PARAMETER.match(header, at)):
            parameters.setdefault(found[1].lower(), _value(found))
        elif found := _SCHEME.match(header, at):
            if scheme:
                yield scheme, parameters
            scheme, parameters = found[1].lower(), {}
        else:
            break
        at = _skip(header, found.end())
    if scheme:
        yield scheme, parameters


def _skip(header: str, at: int) -> int:
    found = _SPACE.match(header, at)
    return found.end() if found else at


def _value(parameter: re.Match[str]) -> str:
    return parameter[3] or _ESCAPED.sub(r"\1", parameter[2] or "")


def _realm(text: str) -> URL | None:
    """An address that can be asked; without a login in it, which would go before our own."""
    try:
        url = URL(text)
        usable = url.scheme in {"http", "https"} and bool(url.host and url.port)
    except ValueError:
        return None
    return url.with_user(None).with_fragment(None) if usable else None
