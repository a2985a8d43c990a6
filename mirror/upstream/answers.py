"""The one reading of an upstream's answers, and of having none, as errors."""

import json
from http import HTTPStatus

import aiohttp
from yarl import URL

from mirror.core.errors import UpstreamError

_TRANSIENT = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,  # it is about the way there, not about the request
    }
)
LOST = frozenset({"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"})
"""Codes that say "start over" whatever their status: what was sent before is gone, what is sent again may stay."""

_MAX_BODY = 4096
_MAX_REASON = 500


async def require(answer: aiohttp.ClientResponse) -> None:
    """Raise UpstreamError, in the upstream's own words, unless the answer is a success."""
    if answer.ok and answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return
    code, message = _words(await answer.content.read(_MAX_BODY))
    away = answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    raise UpstreamError(
        f"{answer.method} {shown(answer.url)}: {answer.status} {message or answer.reason}"[:_MAX_REASON],
        transient=answer.status in _TRANSIENT or away or code in LOST,
        status=answer.status,
        code=code,
        retry_after=_seconds(answer.headers.get("Retry-After", "")),
        away=away,
    )


def no_answer(method: str, url: URL, error: Exception) -> UpstreamError:
    """The error for a request that was not answered, or only in part."""
    return UpstreamError(f"{method} {shown(url)}: {_why(error)}", transient=True, away=True)


async def first(answer: aiohttp.ClientResponse, size: int) -> bytes:
    """The first `size` bytes of an answer, or all that there are."""
    chunks = bytearray()
    async for data in answer.content.iter_any():
        chunks += data
        if len(chunks) >= size:
            break
    return bytes(chunks[:size])


def shown(url: URL) -> str:
    """A URL for people: without its query, which may hold an upload's signed state."""
    return str(url.with_query(None).with_user(None).with_password(None))


def _words(body: bytes) -> tuple[str, str]:
    """The OCI code and message of an error body; empty code when it is none."""
    try:
        error = json.loads(body)["errors"][0]
        code, message = str(error.get("code", "")), str(error.get("message", ""))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "", body.decode("utf-8", "replace").strip()
    return code, f"{code}: {message}"


def _why(error: Exception) -> str:
    """What an error says, without the whole URL that some of aiohttp's put into their texts."""
    match error:
        case aiohttp.ClientResponseError():
            return error.message or type(error).__name__
        case aiohttp.InvalidURL() | aiohttp.RedirectClientError():
            return "redirected to an address that cannot be used"
        case _:
            return str(error) or type(error).__name__


def _seconds(retry_after: str) -> float | None:
    """Retry-After in seconds; its date form is left to our own back-off."""
    return float(retry_after) if retry_after.isdecimal() else None
