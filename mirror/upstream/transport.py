"""One connection pool per upstream, and the one reading of its answers as errors."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

import aiohttp
from yarl import URL

from mirror.core.errors import UpstreamError
from mirror.runtime.clock import SystemClock
from mirror.upstream.authorization import Access, Authorization
from mirror.upstream.credentials import PasswordFile, Source
from mirror.upstream.token import TokenRequest

_CONNECT = 10.0
_TRANSIENT = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,  # it is about the way there, not about the request
    }
)
# Codes that say "start over" whatever their status: what was sent before is gone, what is sent again may stay.
_TRANSIENT_CODES = frozenset({"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"})
_MAX_REDIRECTS = 5
_MAX_ERROR_BODY = 4096
_MAX_TOKEN = 1 << 20
_MAX_REASON = 500


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy on the way to an upstream: asked by CONNECT for https, by absolute URLs for http."""

    url: URL
    login: PasswordFile | None = None


@dataclass(frozen=True, slots=True)
class _Request:
    """A request, without what is shown of our credentials."""

    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes | AsyncIterator[bytes] | None
    scopes: Sequence[str]


class Transport:
    """Requests to one upstream. `stall` is how many seconds without progress it may take before it is given up.

    Proxies that the environment names are not used: what is not in the settings does not count.
    """

    def __init__(
        self,
        base: URL,
        *,
        credentials: Source | None,
        tls: ssl.SSLContext | None,
        proxy: Proxy | None = None,
        stall: float = 60.0,
    ) -> None:
        self._base = base
        self._authorization = Authorization(base, credentials, self._ask_token_server, SystemClock())
        self._tls = tls
        self._proxy = proxy
        self._stall = stall
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._tls or True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=self._stall),
            auto_decompress=False,
            proxy=self._proxy.url if self._proxy else None,
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
        return self._secured(url)

    def _secured(self, url: URL) -> URL:
        """A proxy that ends TLS in front of the upstream may leave it to believe that it is asked over http."""
        base = self._base
        ours = url.host == base.host and url.port in {80, base.port}
        if not (ours and url.scheme == "http" and base.scheme == "https"):
            return url
        return url.with_scheme("https").with_port(base.explicit_port)

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | AsyncIterator[bytes] | None = None,
        scopes: Sequence[str] = (),
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; the answer may be a success or a 404, whose meaning is the caller's to know.

        `scopes` are what a token must allow, should the upstream ask for one; a caller that names the same ones for
        all requests of a job makes do with one token.

        Raises:
            UpstreamError: no answer, or any other status.
        """
        try:
            async with self._answered(_Request(method, url, headers or {}, body, scopes)) as answer:
                await _check(answer)
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UpstreamError(f"{method} {_shown(url)}: {_why(error)}", transient=True) from error

    @asynccontextmanager
    async def _answered(self, request: _Request) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to a request, which is repeated once where a new token may change it; the second one counts."""
        for last in (False, True):
            access = await self._access(request)
            async with self._sent(request, access) as answer:
                if not self._may_change(answer, request, access) or last:
                    yield answer
                    return

    async def _access(self, request: _Request) -> Access:
        """What to show: nothing but to the upstream itself, as a `Location` may lead anywhere."""
        return await self._authorization.access(request.scopes) if self._is_own(request.url) else Access()

    @asynccontextmanager
    async def _sent(self, request: _Request, access: Access) -> AsyncIterator[aiohttp.ClientResponse]:
        async with self._connected().request(
            request.method,
            request.url,
            headers={**request.headers, **access.headers},
            data=request.body,
            allow_redirects=request.method in {"GET", "HEAD"},
            max_redirects=_MAX_REDIRECTS,
            proxy_headers=await self._proxy_headers(),
        ) as answer:
            yield answer

    def _may_change(self, answer: aiohttp.ClientResponse, request: _Request, access: Access) -> bool:
        """Whether the same request may now be answered better. Raises UpstreamError when its body is gone."""
        if answer.status != HTTPStatus.UNAUTHORIZED or not self._is_own(answer.url):
            return False
        if not self._authorization.may_cure(access, answer.headers.getall("WWW-Authenticate", [])):
            return False
        if isinstance(request.body, AsyncIterator):
            reason = f"{request.method} {_shown(request.url)}: 401 that a new token may cure"
            raise UpstreamError(reason, transient=True)
        return True

    async def _ask_token_server(self, request: TokenRequest) -> bytes:
        """The answer to a request for a token; it is followed nowhere else, and cut where no token is that long."""
        method = "GET" if request.form is None else "POST"
        try:
            async with self._connected().request(
                method,
                request.url,
                headers=request.headers,
                data=request.form,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._stall, sock_connect=_CONNECT),
                proxy_headers=await self._proxy_headers(),
            ) as answer:
                await require(answer)
                return await _first(answer, _MAX_TOKEN)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UpstreamError(f"{method} {_shown(request.url)}: {_why(error)}", transient=True) from error

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise UpstreamError("not connected", transient=True)
        return self._session

    async def _proxy_headers(self) -> dict[str, str]:
        """The login for the proxy: aiohttp says it as Proxy-Authorization, in tunnels, requests and redirects alike."""
        if self._proxy is None or self._proxy.login is None:
            return {}
        return {"Authorization": (await self._proxy.login.current()).header}

    async def send(
        self, method: str, url: URL, *, size: int, body: AsyncIterator[bytes], scopes: Sequence[str] = ()
    ) -> None:
        """Send a streamed body of `size` bytes; a failure to read the body is raised as it is.

        Raises:
            UpstreamError: as `request`, a 404 included; or nothing was taken for `stall` seconds.
        """
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        loop = asyncio.get_running_loop()
        source = _Source(body)
        try:
            async with asyncio.timeout(self._stall) as watchdog:
                source.on_progress = lambda: watchdog.reschedule(loop.time() + self._stall)
                async with self.request(method, url, headers=headers, body=source.read(), scopes=scopes) as answer:
                    await require(answer)
        except (UpstreamError, TimeoutError) as error:
            if source.error is not None:
                raise source.error from error
            if isinstance(error, TimeoutError):
                raise UpstreamError(f"{method} {_shown(url)}: stalled", transient=True) from error
            raise

    def _is_own(self, url: URL) -> bool:
        return url.origin() == self._base.origin()


class _Source:
    """A request body that remembers why it broke: the HTTP client would report that as a lost connection."""

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self._body = body
        self.error: Exception | None = None
        self.on_progress: Callable[[], None] = lambda: None

    async def read(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._body:
                yield data
                self.on_progress()
        except Exception as error:  # whatever it is, it is raised on, and by `send` once more
            self.error = error
            raise


async def _first(answer: aiohttp.ClientResponse, size: int) -> bytes:
    """The first `size` bytes of an answer, or all that there are."""
    chunks = bytearray()
    async for data in answer.content.iter_any():
        chunks += data
        if len(chunks) >= size:
            break
    return bytes(chunks[:size])


async def _check(answer: aiohttp.ClientResponse) -> None:
    if answer.status != HTTPStatus.NOT_FOUND:
        await require(answer)


async def require(answer: aiohttp.ClientResponse) -> None:
    """Raise UpstreamError, in the upstream's own words, unless the answer is a success."""
    if answer.ok and answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return
    code, message = _words(await answer.content.read(_MAX_ERROR_BODY))
    transient = (
        answer.status in _TRANSIENT or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or code in _TRANSIENT_CODES
    )
    raise UpstreamError(
        f"{answer.method} {_shown(answer.url)}: {answer.status} {message or answer.reason}"[:_MAX_REASON],
        transient=transient,
        retry_after=_seconds(answer.headers.get("Retry-After", "")),
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
