"""What the query of an operator's request says."""

from aiohttp import web

_LONGEST = 18


def seconds(request: web.Request, name: str) -> float | None:
    """A number of seconds, not below 0; None when there is none."""
    try:
        number = float(request.query.get(name, ""))
    except ValueError:
        return None
    return number if number > 0 else 0.0  # `nan` is not above anything


def number(request: web.Request, name: str) -> int | None:
    """A whole number, not below 0; None when there is none."""
    text = request.query.get(name, "")
    return int(text) if text.isdecimal() and text.isascii() and len(text) <= _LONGEST else None
