"""Lists in pages: `n`, `last` and the `Link` to the next page (spec: "Listing Tags")."""

import re
from urllib.parse import urlencode

from aiohttp import web

from mirror.oci.errors import Problem, RegistryError

# More would be no list; and thousands of digits are no number for `int`.
_NUMBER = re.compile(r"[0-9]{1,18}")


def limit(request: web.Request) -> int | None:
    """How many entries the client wants, None for all. Raises RegistryError: PAGE_INVALID."""
    text = request.query.get("n")
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise RegistryError(Problem.PAGE_INVALID, f"n={text[:255]!r}")
    return int(text)


def last(request: web.Request) -> str:
    """The entry that the page begins behind; empty for the first page."""
    return request.query.get("last", "")


def link(request: web.Request, entries: list[str], *, more: bool) -> dict[str, str]:
    """The `Link` header to the page behind `entries`, if there is one (RFC 8288)."""
    if not more or not entries:
        return {}
    query = {"n": str(len(entries)), "last": entries[-1]}
    if "ns" in request.query:
        query["ns"] = request.query["ns"]
    return {"Link": f'<{request.path}?{urlencode(query)}>; rel="next"'}
