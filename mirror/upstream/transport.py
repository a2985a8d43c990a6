"""One connection pool per upstream, its credentials, and the one reading of its answers as errors."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

import aiohttp
from yarl import URL

from mirror.core.errors import UploadLostError, UpstreamError
from mirror.core.replication.breaker import Breaker

_CONNECT = 10.0
# After the last byte of a large blob some registries copy all of it before they answer.
_STALLS_TO_ANSWER = 5
_TRANSIENT = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
# Codes that say "start over" whatever their status: what was sent before is gone, what is sent again may stay.
_LOST_CODES = frozenset({"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"})
_MAX_REDIRECTS = 5
_MAX_ERROR_BODY = 4096
_MAX_REASON = 500


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and a password, for HTTP basic authentication."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, …)"


class Transport:
    """Requests to one upstream. `stall` is how many seconds without progress it may take before it is given up."""

    def __init__(
        self,
        base: URL,
        *,
        credentials: Credentials | None,
        tls: ssl.SSLContext | None,
        breaker: Breaker,
        stall: float,
    ) -> None:
        self._base = base
        self._credentials = credentials
        self._tls = tls
        self._breaker = breaker
        self._stall = stall
        self._answer = _STALLS_TO_ANSWER * stall
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._tls or True),
            auto_decompress=False,
            headers={"User-Agent": "registry-mirror"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    def url(self, path: str) -> URL:
        """An address of the upstream."""
        return self._base.join(URL(path, encoded=True))

    def location(self, text: str) -> URL:
        """What a `Location` of the upstream means. Raises UpstreamError when it leads nowhere."""
        try:
            url = self.url(text)
            usable = bool(text and url.host and url.port) and url.scheme in {"http", "https"}
        except ValueError:
            usable = False
        if not usable:
            raise UpstreamError("answered an upload without a usable Location", transient=False)
        return url

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | AsyncIterator[bytes] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; the answer may be a success or a 404, whose meaning is the caller's to know.

        Raises:
            UpstreamError: no answer, or any other status; or the upstream is known to be away.
        """
        async with self._breaker.guard(), self._exchange(method, url, headers, body, self._stall) as answer:
            yield answer

    @asynccontextmanager
    async def _exchange(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str] | None,
        body: bytes | AsyncIterator[bytes] | None,
        patience: float,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise UpstreamError("not connected", transient=True)
        try:
            async with self._session.request(
                method,
                url,
                headers={**(headers or {}), **self._authorization(url)},
                data=body,
                allow_redirects=method in {"GET", "HEAD"},
                max_redirects=_MAX_REDIRECTS,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=patience),
            ) as answer:
                await _check(answer)
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UpstreamError(f"{method} {_shown(url)}: {_why(error)}", transient=True, away=True) from error

    async def probe(self) -> None:
        """Ask for the version, even of an upstream that is taken to be away. Raises UpstreamError: it still is."""
        try:
            async with self._exchange("GET", self.url("/v2/"), None, None, self._stall):
                return
        except UpstreamError as error:
            if error.away:
                raise

    async def send(
        self,
        method: str,
        url: URL,
        *,
        size: int,
        body: AsyncIterator[bytes],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send a streamed body of `size` bytes; a failure to read the body is raised as it is.

        Raises:
            UpstreamError: as `request`, a 404 included; or nothing was taken for `stall` seconds.
        """
        framing = {"Content-Length": str(size), "Content-Type": "application/octet-stream", **(headers or {})}
        async with self._breaker.guard():
            try:
                async with asyncio.timeout(self._stall) as timeout:
                    source = _Source(body, _Watchdog(timeout, self._stall, self._answer))
                    await self._send(method, url, framing, source)
            except TimeoutError as error:
                raise UpstreamError(f"{method} {_shown(url)}: stalled", transient=True, away=True) from error

    async def _send(self, method: str, url: URL, headers: Mapping[str, str], source: "_Source") -> None:
        try:
            async with self._exchange(method, url, headers, source.read(), self._answer) as answer:
                await require(answer)
        except UpstreamError as error:
            if source.error is not None:
                raise source.error from error
            raise

    def _authorization(self, url: URL) -> dict[str, str]:
        """Credentials, for the upstream itself only: a `Location` may lead to a host that must not see them."""
        if self._credentials is None or url.origin() != self._base.origin():
            return {}
        login = f"{self._credentials.username}:{self._credentials.password}"
        return {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}


class _Watchdog:
    """Bounds how long the upstream takes for a piece, and for its answer after the last one; and nothing else."""

    def __init__(self, timeout: asyncio.Timeout, piece: float, answer: float) -> None:
        self._timeout = timeout
        self._piece = piece
        self._answer = answer

    def sending(self) -> None:
        """The upstream was given a piece."""
        self._within(self._piece)

    def reading(self) -> None:
        """It is our turn: what is to be sent next is not here yet, or may not go yet."""
        self._timeout.reschedule(None)

    def answering(self) -> None:
        """The upstream has it all."""
        self._within(self._answer)

    def _within(self, seconds: float) -> None:
        self._timeout.reschedule(asyncio.get_running_loop().time() + seconds)


class _Source:
    """A request body that remembers why it broke: the HTTP client would report that as a lost connection."""

    def __init__(self, body: AsyncIterator[bytes], watchdog: _Watchdog) -> None:
        self._body = body
        self._watchdog = watchdog
        self.error: Exception | None = None

    async def read(self) -> AsyncIterator[bytes]:
        try:
            self._watchdog.reading()
            async for data in self._body:
                self._watchdog.sending()
                yield data
                self._watchdog.reading()
            self._watchdog.answering()
        except Exception as error:  # whatever it is, it is raised on, and by `send` once more
            self.error = error
            raise


async def _check(answer: aiohttp.ClientResponse) -> None:
    if answer.status != HTTPStatus.NOT_FOUND:
        await require(answer)


async def require(answer: aiohttp.ClientResponse) -> None:
    """Raise UpstreamError, in the upstream's own words, unless the answer is a success."""
    if answer.ok and answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return
    code, message = _words(await answer.content.read(_MAX_ERROR_BODY))
    away = answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    lost = code in _LOST_CODES
    raise (UploadLostError if lost else UpstreamError)(
        f"{answer.method} {_shown(answer.url)}: {answer.status} {message or answer.reason}"[:_MAX_REASON],
        transient=answer.status in _TRANSIENT or away or lost,
        retry_after=_seconds(answer.headers.get("Retry-After", "")),
        away=away,
    )


def _words(body: bytes) -> tuple[str, str]:
    """The OCI code and message of an error body; empty code when it is none."""
    try:
        first = json.loads(body)["errors"][0]
        code, message = str(first.get("code", "")), str(first.get("message", ""))
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


def _shown(url: URL) -> str:
    """A URL for people: without its query, which may hold an upload's signed state."""
    return str(url.with_query(None).with_user(None).with_password(None))
