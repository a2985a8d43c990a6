"""Answering with stored content, the same way for blobs and manifests: whole, in part, or "you have it already".

Source: RFC 9110, "Range Requests" and "Conditional Requests".
"""

import re
from http import HTTPStatus

from aiohttp import hdrs, web

from mirror.core.pull import Origin, Pull, Stored
from mirror.http.sending import send
from mirror.oci.errors import Problem, RegistryError

# RFC 7234, "Warning": the one header that tells people who still have an answer that it may be out of date.
_STALE = '110 registry-mirror "Response is Stale"'
_RANGE = re.compile(r"bytes=(?!-$)(\d{0,18})-(\d{0,18})", re.ASCII | re.IGNORECASE)


def only_asks(request: web.Request) -> bool:
    """Whether a client wants to know that something is here, as builders do before they push it."""
    return request.method == hdrs.METH_HEAD


async def respond(request: web.Request, pull: Pull, stored: Stored) -> web.StreamResponse:
    """Send what was found; for a HEAD only what there is to know about it.

    Raises:
        RegistryError: PART_INVALID when the Range asked for lies outside.
    """
    response = web.StreamResponse(headers={"Docker-Content-Digest": stored.digest, "Accept-Ranges": "bytes"})
    response.etag = stored.digest
    response.headers["X-Cache"] = stored.origin
    if stored.origin is Origin.STALE:
        response.headers["Warning"] = _STALE
    if _is_known(request, stored):
        response.set_status(HTTPStatus.NOT_MODIFIED)
        await response.prepare(request)
        return response
    part = _part(request, stored)
    if part is not None:
        response.set_status(HTTPStatus.PARTIAL_CONTENT)
        response.headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{stored.size}"
    part = range(stored.size) if part is None else part
    response.content_type = stored.media_type
    response.content_length = len(part)
    if part and not only_asks(request):
        await send(request, response, pull, stored, part)
    else:
        await response.prepare(request)
    await response.write_eof()
    return response


def _is_known(request: web.Request, stored: Stored) -> bool:
    """Whether the client says that it has these very bytes."""
    tags = request.if_none_match or ()
    return any(tag.value in {stored.digest, "*"} for tag in tags)


def _part(request: web.Request, stored: Stored) -> range | None:
    """The part that is asked for, None for all: also when the header is malformed or asks for several parts."""
    unless = request.headers.get(hdrs.IF_RANGE)
    if unless is not None and unless != f'"{stored.digest}"':
        return None
    match = _RANGE.fullmatch(request.headers.get(hdrs.RANGE, ""))
    if request.method != hdrs.METH_GET or match is None:
        return None
    part = _between(match[1], match[2], stored.size)
    if not part:
        raise RegistryError(Problem.PART_INVALID, headers={"Content-Range": f"bytes */{stored.size}"})
    return part


def _between(first: str, last: str, size: int) -> range:
    """The bytes from `first` to `last`, to the end without a `last`, and the `last` ones without a `first`."""
    if not first:
        return range(max(size - int(last), 0), size)
    return range(int(first), min(int(last) + 1, size) if last else size)
