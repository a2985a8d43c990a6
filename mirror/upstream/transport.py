"""One connection pool per upstream: requests, what they show of our credentials, and how long they may take."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Self

import aiohttp
from yarl import URL

from mirror.core.errors import UpstreamError
from mirror.core.ports import Clock
from mirror.core.replication.breaker import Breaker
from mirror.upstream.answers import first, no_answer, require, shown
from mirror.upstream.authorization import Access, Authorization
from mirror.upstream.body import Body, Watchdog
from mirror.upstream.credentials import PasswordFile, Source
from mirror.upstream.token import TokenRequest

_CONNECT = 10.0
# After the last byte of a large blob some registries copy all of it before they answer.
_STALLS_TO_ANSWER = 5
_MAX_REDIRECTS = 5
_MAX_TOKEN = 1 << 20
_MAX_GREETING = 4096


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy on the way to an upstream: asked by CONNECT for https, by absolute URLs for http."""

    url: URL
    login: PasswordFile | None = None


@dataclass(frozen=True, slots=True)
class Greeting:
    """How an upstream answers before it knows who asks: status, headers, `WWW-Authenticate`, how the body begins."""

    status: int
    headers: Mapping[str, str]
    challenges: Sequence[str]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Request:
    """A request, without what is shown of our credentials."""

    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes | Body | None
    scopes: Sequence[str]
    patience: float


class Transport:
    """Requests to one upstream. `stall` is how many seconds without progress it may take before it is given up.

    While `breaker` is open none is made but the probe. Proxies that the environment names are not used: what is
    not in the settings does not count. With `socket`, all of them go to that unix socket, under the names that they
    have. `traces` are told of each one.
    """

    def __init__(  # noqa: PLR0913 - what it is made of, each by name
        self,
        base: URL,
        *,
        credentials: Source | None,
        tls: ssl.SSLContext | None,
        proxy: Proxy | None,
        clock: Clock,
        breaker: Breaker,
        stall: float,
        socket: Path | None = None,
        traces: Sequence[aiohttp.TraceConfig] = (),
    ) -> None:
        self._base = base
        self._authorization = Authorization(base, credentials, self._ask_token_server, clock)
        self._tls = tls
        self._proxy = proxy
        self._breaker = breaker
        self._stall = stall
        self._socket = socket
        self._traces = list(traces)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=self._connector(),
            auto_decompress=False,
            requote_redirect_url=False,  # an address that is signed must go out as it came in
            proxy=self._proxy.url if self._proxy else None,
            headers={"User-Agent": "registry-mirror"},
            trace_configs=self._traces,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    def _connector(self) -> aiohttp.BaseConnector:
        if self._socket:
            return aiohttp.UnixConnector(str(self._socket), limit=0)
        return aiohttp.TCPConnector(limit=0, ssl=self._tls or True)

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
        body: bytes | None = None,
        scopes: Sequence[str] = (),
        patience: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; the answer may be a success or a 404, whose meaning is the caller's to know.

        `scopes` are what a token must allow, should the upstream ask for one; a caller that names the same ones for
        all requests of a job makes do with one token. `patience` takes the place of the usual `stall`.

        Raises:
            UpstreamError: no answer, or any other status; or the upstream is known to be away.
        """
        request = _Request(method, url, headers or {}, body, scopes, patience or self._stall)
        async with self._breaker.guard(), self._exchange(request) as answer:
            yield answer

    @asynccontextmanager
    async def _exchange(self, request: _Request) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._answered(request) as answer:
                await _check(answer)
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise no_answer(request.method, request.url, error) from error

    async def greeting(self) -> Greeting:
        """What `GET /v2/` is answered to whoever shows no credentials. Raises UpstreamError: nothing is."""
        request = _Request("GET", self.url("/v2/"), {}, None, (), self._stall)
        try:
            async with self._sent(request, Access()) as answer:
                challenges = answer.headers.getall("WWW-Authenticate", [])
                return Greeting(answer.status, answer.headers, challenges, await first(answer, _MAX_GREETING))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise no_answer(request.method, request.url, error) from error

    async def probe(self) -> None:
        """Ask for the version, even of an upstream that is taken to be away. Raises UpstreamError: it still is."""
        try:
            async with self._exchange(_Request("GET", self.url("/v2/"), {}, None, (), self._stall)):
                return
        except UpstreamError as error:
            if error.away:
                raise

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
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=request.patience),
            proxy_headers=await self._proxy_headers(),
        ) as answer:
            yield answer

    def _may_change(self, answer: aiohttp.ClientResponse, request: _Request, access: Access) -> bool:
        """Whether the same request may now be answered better. Raises UpstreamError when its body is gone."""
        if answer.status != HTTPStatus.UNAUTHORIZED or not self._is_own(answer.url):
            return False
        if not self._authorization.may_cure(access, answer.headers.getall("WWW-Authenticate", [])):
            return False
        if isinstance(request.body, Body):
            reason = f"{request.method} {shown(request.url)}: 401 that a new token may cure"
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
                return await first(answer, _MAX_TOKEN)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise no_answer(method, request.url, error) from error

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
        self,
        url: URL,
        data: AsyncIterator[bytes],
        *,
        size: int,
        headers: Mapping[str, str],
        scopes: Sequence[str] = (),
    ) -> None:
        """PUT a streamed body of `size` bytes; a failure to read the body is raised as it is.

        Raises:
            UpstreamError: as `request`, a 404 included; or nothing was taken for `stall` seconds.
        """
        framing = {"Content-Length": str(size), "Content-Type": "application/octet-stream", **headers}
        answer_within = _STALLS_TO_ANSWER * self._stall
        async with self._breaker.guard():
            try:
                async with asyncio.timeout(self._stall) as timeout:
                    body = Body(data, Watchdog(timeout, self._stall, answer_within))
                    await self._send(_Request("PUT", url, framing, body, scopes, answer_within), body)
            except TimeoutError as error:
                body.abort()
                raise no_answer("PUT", url, TimeoutError("stalled")) from error

    async def _send(self, request: _Request, body: Body) -> None:
        try:
            async with self._exchange(request) as answer:
                body.answered()
                await require(answer)
        except UpstreamError as error:
            if body.error is not None:
                raise body.error from error
            raise
        finally:
            await body.discard()

    def _is_own(self, url: URL) -> bool:
        return url.origin() == self._base.origin()


async def _check(answer: aiohttp.ClientResponse) -> None:
    if answer.status != HTTPStatus.NOT_FOUND:
        await require(answer)
