"""What a client would like, if it can be had: the `Prefer` header.

Source: RFC 7240.
"""

import re
from collections.abc import Iterator

from aiohttp import web

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_ITEM = re.compile(rf"[ \t]*+({_NAME})?+(?:[ \t]*+=[ \t]*+({_NAME}|{_QUOTED})?+)?+[ \t]*+([,;]|\Z)")
# BuildKit gives up 30 seconds after the last byte that it sent.
_LONGEST_WAIT = 25


def upstream_wait(request: web.Request) -> float | None:
    """How many seconds an acknowledgement may wait for the upstream, None when nobody asked for that.

    `wait=upstream` is ours; the RFC's own `wait=<seconds>` beside it shortens the time.
    """
    waits = [value for name, value in parse(", ".join(request.headers.getall("Prefer", []))) if name == "wait"]
    if "upstream" not in waits:
        return None
    return float(min([_LONGEST_WAIT, *(int(value) for value in waits if re.fullmatch(r"[0-9]{1,9}", value))]))


def parse(header: str) -> Iterator[tuple[str, str]]:
    """The preferences of a header: name in lower case and value, without their parameters.

    What follows a syntax error is ignored: a preference is no condition.
    """
    position, is_parameter = 0, False
    while position < len(header) and (item := _ITEM.match(header, position)):
        name, value, end = item.groups()
        if name and not is_parameter:
            yield name.lower(), _unquoted(value or "")
        position, is_parameter = item.end(), end == ";"


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
