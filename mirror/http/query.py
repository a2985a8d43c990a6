"""What the query of an operator's request says."""

from aiohttp import web


def seconds(request: web.Request, name: str) -> float | None:
    """A number of seconds, not below 0; None when there is none."""
    try:
        number = float(request.query.get(name, ""))
    except ValueError:
        return None
    return number if number > 0 else 0.0  # `nan` is not above anything
