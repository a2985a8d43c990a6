"""An upstream, step by step: its name, a connection, TLS, whether it is a registry, and takes our credentials."""

import asyncio
import json
import random
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from yarl import URL

from mirror import config
from mirror.app.connection import secrets, trust
from mirror.app.secrets import looked_at
from mirror.cli.doctor.certificates import Certificate, read_certificate, why_refused
from mirror.cli.doctor.checks import Check, Finding, broken, key_of, ok, skipped, warning
from mirror.cli.doctor.runner import in_thread
from mirror.cli.doctor.unseen import unseen
from mirror.core.errors import UpstreamError
from mirror.core.jobs import Backoff
from mirror.core.replication.breaker import Breaker
from mirror.oci.names import Repository, digest_of
from mirror.runtime.clock import SystemClock
from mirror.upstream.challenge import Challenge, bearer_challenge
from mirror.upstream.client import RegistryClient
from mirror.upstream.credentials import DockerConfig, Source
from mirror.upstream.transport import Greeting, Proxy, Transport

_PATIENCE = 3.0
_SOON = timedelta(days=14)
_OURS = "Docker-Distribution-Api-Version"
_REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


class UpstreamChecks:
    """One upstream of the settings. What a check learned is for those that need it.

    `repository` is one that is tried to be pushed to. `greeting` is its answer to `GET /v2/`, `greeted` the time (Unix)
    in the middle of that exchange, `took` the seconds that a connection takes, which is one round trip.
    """

    def __init__(self, name: str, settings: config.Upstream, repository: Repository | None) -> None:
        self.name = name
        self.is_pulled = settings.pull is not None
        self.greeting: Greeting | None = None
        self.greeted = 0.0
        self.took: float | None = None
        self._settings = settings
        self._repository = repository
        self._url = URL(settings.url)
        self._clock = SystemClock()
        self._tls: ssl.SSLContext | None = None
        self._source: Source | None = None
        self._proxy: Proxy | None = None

    def key(self, what: str) -> str:
        """What others call one of its checks."""
        return key_of(f"upstream.{what}", self.name)

    def checks(self) -> list[Check]:
        """What there is to see of it; whatever fails, the next step is looked at if it does not depend on that."""
        key, about = self.key, self.name
        reached = [key("connection"), *([key("certificate")] if self._url.scheme == "https" else [])]
        return [
            Check("upstream.trust", self._trust, about),
            Check("upstream.secrets", self._secrets, about),
            Check("upstream.name", self._resolves, about, seconds=_PATIENCE + 1),
            Check("upstream.connection", self._connects, about, needs=[key("name")]),
            Check("upstream.certificate", self._certificate, about, needs=[key("trust"), key("connection")]),
            Check("upstream.answers", self._answers, about, needs=reached, seconds=_PATIENCE + 1),
            Check("upstream.tokens", self._tokens, about, needs=[key("answers")]),
            Check("upstream.login", self._login, about, needs=[key("secrets"), key("tokens")], seconds=_PATIENCE + 1),
            Check("upstream.push", self._push, about, needs=[key("login")], seconds=_PATIENCE + 1),
        ]

    @property
    def _host(self) -> tuple[str, int]:
        """Where connections go: to the proxy, if there is one."""
        url = URL(self._settings.proxy) if self._settings.proxy else self._url
        return url.host or "", url.port or 0

    def _set(self, key: str) -> str:
        return f'[upstreams."{self.name}"] {key}'

    def _trust(self) -> Finding:
        """Whether the files with authorities and our own certificate can be used."""
        try:
            self._tls = trust(self.name, looked_at(self._settings))
        except config.SettingsError as error:
            return unseen(error) or broken(
                str(error), f"mend the file, or {self._set('ca_file, client_cert, client_key')}"
            )
        return ok(f"authorities of {self._settings.ca_file or 'the system'}")

    def _secrets(self) -> Finding:
        """Whether the files with what is secret can be read, and hold something."""
        try:
            found = looked_at(self._settings)
            self._source, self._proxy = secrets(self.name, found)
        except config.SettingsError as error:
            return unseen(error) or broken(str(error), f"mend the file, or the key of {self._set('')}that names it")
        for file in (found.password_file, found.proxy_password_file, found.token_file):
            if file and len(file.read_text().strip().splitlines()) > 1:
                return warning(
                    f"{file} has several lines, and all of them are sent", "leave nothing but the secret in it"
                )
        return ok("the settings have none" if self._source is None else "what is secret can be read")

    async def _resolves(self) -> Finding:
        """Whether its name has an address."""
        host, port = self._host
        remedy = f"see to the name (getent hosts {host}) and /etc/resolv.conf, or {self._set('url')}"
        try:
            async with asyncio.timeout(_PATIENCE):
                found = await in_thread(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except TimeoutError:
            return broken(f"no name server told within {_PATIENCE:.0f} s where {host} is", remedy)
        except OSError as error:
            return broken(f"{host} has no address: {error.strerror}", remedy)
        return ok(f"{host} is {', '.join(dict.fromkeys(str(each[4][0]) for each in found))}")

    async def _connects(self) -> Finding:
        """Whether somebody takes connections there, and how long that takes."""
        host, port = self._host
        where = f"{host}:{port}" + (" (the proxy)" if self._settings.proxy else "")
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(_PATIENCE):
                _, writer = await asyncio.open_connection(host, port)
        except TimeoutError:
            remedy = f"a firewall, a route or the host's being down: see to the way there, or {self._set('url')}"
            return broken(f"{where} does not answer to a connection within {_PATIENCE:.0f} s", remedy)
        except ConnectionRefusedError:
            return broken(
                f"{where} refuses connections: nobody listens", f"start it, or set the port in {self._set('url')}"
            )
        except OSError as error:
            return broken(f"{where} cannot be reached: {error.strerror}", f"see to the network, or {self._set('url')}")
        self.took = self._clock.monotonic() - began
        writer.close()
        return ok(f"{where} takes connections, in {self.took * 1000:.3g} ms")

    async def _certificate(self) -> Finding:
        """Whether its certificate is believed; what is refused is looked at once more, to say what it is."""
        if self._url.scheme == "http":
            return ok("none, as url says http")
        if self._settings.proxy:
            return ok("seen to with the answer, as it comes through the proxy")
        host = self._url.host or ""
        try:
            shown = await self._shown(self._tls or ssl.create_default_context())
        except ssl.SSLError as error:
            why, remedy = why_refused(error, host)
            return broken(f"{why}{await self._unbelieved()}", remedy)
        except (OSError, TimeoutError) as error:
            return broken(f"no TLS with {host}: {error or 'no answer in time'}", f"see to it, or {self._set('url')}")
        if shown and shown.ends - datetime.fromtimestamp(self._clock.now(), UTC) < _SOON:
            return warning(f"it expires soon: {shown}", "its operator has to renew it")
        return ok(str(shown))

    async def _unbelieved(self) -> str:
        """What a certificate says that was refused; nothing is sent on that connection."""
        anything = ssl.create_default_context()
        anything.check_hostname, anything.verify_mode = False, ssl.CERT_NONE
        with suppress(OSError, ValueError, TimeoutError):
            return f" ({await self._shown(anything)})"
        return ""

    async def _shown(self, context: ssl.SSLContext) -> Certificate | None:
        async with asyncio.timeout(_PATIENCE):
            _, writer = await asyncio.open_connection(*self._host, ssl=context)
        try:
            raw = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        finally:
            writer.transport.abort()
        return read_certificate(raw) if raw else None

    async def _answers(self) -> Finding:
        """Whether it answers as a registry does."""
        began = self._clock.now()
        try:
            async with self._transport(None) as transport:
                self.greeting = await transport.greeting()
        except UpstreamError as error:
            return self._silence(error)
        took = self._clock.now() - began
        self.greeted = began + took / 2
        if trouble := _no_registry(self.greeting):
            return broken(f"{self._url}v2/ {trouble}", f"set {self._set('url')} to where the registry itself is")
        return ok(f"it answers as a registry, in {took * 1000:.3g} ms")

    def _silence(self, error: UpstreamError) -> Finding:
        cause = error.__cause__
        if failed := _tls_error(error):
            return broken(*why_refused(failed, self._url.host or ""))
        if getattr(cause, "status", 0) == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            return broken(f"the proxy asks for a login: {error}", self._set("proxy_username, proxy_password_file"))
        if isinstance(cause, TimeoutError):
            seen = f"it takes connections, and answers nothing within {_PATIENCE:.0f} s"
            return broken(seen, "it hangs, or is no HTTP server: see to it there")
        return broken(str(error), f"see to it there, or {self._set('url')}")

    async def _tokens(self) -> Finding:
        """Whether the token server that it names can be reached."""
        challenge = self._challenge()
        if challenge is None:
            return ok("it gives no tokens, and none are needed")
        realm = challenge.realm
        if self._settings.proxy:
            return ok(f"tokens are to be had of {realm.with_query(None)}, through the proxy")
        remedy = f"see to the way there; it is the registry that names it, in WWW-Authenticate of {self._url}v2/"
        try:
            async with asyncio.timeout(_PATIENCE):
                host, port = realm.host or "", realm.port
                await in_thread(lambda: socket.getaddrinfo(host, port))
                _, writer = await asyncio.open_connection(host, port)
        except TimeoutError:
            return broken(f"its token server {realm.with_query(None)} does not answer", remedy)
        except OSError as error:
            return broken(f"its token server {realm.with_query(None)} cannot be reached: {error.strerror}", remedy)
        writer.close()
        return ok(f"tokens are to be had of {realm.with_query(None)}")

    async def _login(self) -> Finding:
        """Whether it takes our credentials, or needs none."""
        secret = await self._source.current() if self._source else None
        asked = self.greeting is not None and self.greeting.status == HTTPStatus.UNAUTHORIZED
        if not asked:
            return ok(
                "it asks for no login" if secret is None else "it asks for no login at /v2/, so ours was not tried"
            )
        if secret is None and self._challenge() is None:
            nothing = (
                "docker_config has none for it" if isinstance(self._source, DockerConfig) else "the settings have none"
            )
            return broken(f"it asks for a login, and {nothing}", self._set("username and password_file"))
        try:
            async with self._transport(self._source) as transport, transport.request("GET", transport.url("/v2/")):
                pass
        except UpstreamError as error:
            if error.status in _REFUSED:
                return broken(f"it refuses the credentials: {error}", f"renew what {self._named_secret()} holds")
            return broken(str(error), "see to its token server")
        if secret is None:
            remedy = f"{self._set('username and password_file')}, unless anybody may push there"
            return warning("it gives tokens to anybody, and the settings have no login", remedy)
        return ok(f"it takes the credentials of {self._named_secret()}")

    async def _push(self) -> Finding:
        """Whether we may push to a repository: an upload is begun there, and given up."""
        if self._repository is None:
            return skipped("no repository to try", f"registry-mirror doctor --repository {self.name}/NAME")
        try:
            async with self._transport(self._source) as transport:
                client = RegistryClient(transport)
                upload = await client.begin_upload(self._repository, digest_of(b""))
                if upload:
                    with suppress(UpstreamError):  # it was begun, and ends by itself where it cannot be given up
                        await client.give_up_upload(self._repository, upload)
        except UpstreamError as error:
            remedy = f"have its operator allow {self._named_secret()} to push to {self._repository.path}"
            return broken(f"we may not push to {self._repository.path}: {error}", remedy)
        return ok(f"we may push to {self._repository.path}")

    def _challenge(self) -> Challenge | None:
        return bearer_challenge(self.greeting.challenges) if self.greeting else None

    def _named_secret(self) -> str:
        settings = self._settings
        if settings.username is not None:
            return f"{settings.username!r} with {settings.password_file}"
        return str(settings.token_file or settings.docker_config or "anybody")

    @asynccontextmanager
    async def _transport(self, credentials: Source | None) -> AsyncIterator[Transport]:
        breaker = Breaker(clock=self._clock, random=random.SystemRandom(), backoff=Backoff(1, 1))
        async with Transport(
            self._url,
            credentials=credentials,
            tls=self._tls,
            proxy=self._proxy,
            clock=self._clock,
            breaker=breaker,
            stall=_PATIENCE,
        ) as transport:
            yield transport


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """The error of the TLS library behind one of others."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__
    return error


def _no_registry(greeting: Greeting) -> str:
    """Why this is no answer of a registry to `GET /v2/`; empty when it is one.

    Source: OCI distribution-spec, "Determining Support": 200 or 401. What else says so is in no specification.
    """
    kind = greeting.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    shown = f"is answered with {greeting.status}" + (f" and {kind}" if kind else "")
    if _OURS in greeting.headers:
        return "" if greeting.status in {HTTPStatus.OK, HTTPStatus.UNAUTHORIZED} else shown
    if greeting.status == HTTPStatus.UNAUTHORIZED and greeting.challenges:
        return ""
    if greeting.status == HTTPStatus.OK and _is_json(greeting.body):
        return ""
    is_page = kind == "text/html" or greeting.body.lstrip()[:1] == b"<"
    return f"{shown}: " + ("a web page, no registry" if is_page else "no registry says that")


def _is_json(body: bytes) -> bool:
    """Registries answer with `{}`, or nothing, or some words of their own in JSON."""
    try:
        json.loads(body or b"{}")
    except ValueError:
        return False
    return True
