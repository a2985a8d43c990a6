"""Authentication towards the upstream: a real registry that asks for tokens or certificates, by way of real proxies."""

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from yarl import URL

from mirror.core.errors import UpstreamError
from mirror.oci.manifest import OCI_MANIFEST, Descriptor
from mirror.oci.names import Repository, digest_of
from mirror.upstream.client import RegistryClient
from mirror.upstream.credentials import (
    BearerToken,
    Credentials,
    DockerConfig,
    IdentityToken,
    PasswordFile,
    Source,
    TokenFile,
)
from mirror.upstream.tls import tls_context
from mirror.upstream.transport import Proxy, Transport
from tests.contract.upstreams import send_blob, transport_to
from tests.rig.forward import forward_proxy
from tests.rig.registry import Registry
from tests.rig.tokens import Answer, TokenServer
from tests.rig.until import until
from tests.rig.web import Login, answers

LOGIN = Login("builder", "pässword: 42")
CREDENTIALS = Credentials(LOGIN.username, LOGIN.password)
IDENTITY = "sEcReT-identity"
BRIEF = 6
"""Seconds that a token lives whose end a test waits for: enough for one request, however slow the machine is."""
DATA = b"data" * 1000
BLOB = Descriptor(digest=digest_of(DATA), size=len(DATA))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    with TokenServer(tmp_path_factory.mktemp("tokens"), LOGIN, IDENTITY) as tokens:
        yield tokens


@pytest.fixture(scope="module")
def guarded(tokens: TokenServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that asks for tokens."""
    with Registry(tmp_path_factory.mktemp("registry"), tokens=tokens) as registry:
        yield registry


@pytest.fixture(autouse=True)
def kind(tokens: TokenServer) -> None:
    """The token server as it is when no test has changed it."""
    tokens.instead, tokens.lifetime, tokens.claimed, tokens.granted = None, 300.0, 300, True
    tokens.asked.clear()
    tokens.given.clear()


@pytest.fixture
def repository() -> Repository:
    """A repository of this test alone."""
    return Repository("registry.example.com", f"team/{secrets.token_hex(8)}")


@asynccontextmanager
async def connected(registry: Registry, source: Source | None, proxy: Proxy | None = None) -> AsyncIterator[Transport]:
    """A transport to the registry."""
    tls = tls_context(registry.ca_file, registry.client, registry.client)
    async with transport_to(registry.url, credentials=source, tls=tls, proxy=proxy) as transport:
        yield transport


@pytest_asyncio.fixture
async def transport(guarded: Registry) -> AsyncIterator[Transport]:
    """A transport to the registry that asks for tokens, with the right login."""
    async with connected(guarded, CREDENTIALS) as transport:
        yield transport


@pytest.fixture
def upstream(transport: Transport) -> RegistryClient:
    return RegistryClient(transport)


async def pieces(data: bytes = DATA) -> AsyncIterator[bytes]:
    """A body that cannot be sent twice."""
    yield data


async def image(upstream: RegistryClient, repository: Repository) -> bytes:
    """The whole way of an image: its blob, its manifest by digest and by tag, each looked for and read back."""
    assert not await upstream.has_blob(repository, BLOB)
    await send_blob(upstream, repository, BLOB, pieces())
    assert await upstream.has_blob(repository, BLOB)
    blob = {"mediaType": "application/octet-stream", "digest": BLOB.digest, "size": BLOB.size}
    raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": blob, "layers": [blob]}).encode()
    for reference in (digest_of(raw), "v1"):
        await upstream.put_manifest(repository, reference, OCI_MANIFEST, raw)
        assert await upstream.get_manifest(repository, reference, OCI_MANIFEST) == raw
    return raw


async def refusal(upstream: RegistryClient, repository: Repository) -> UpstreamError:
    """The error that asking for a blob ends with; whatever it is, it holds no secret."""
    with pytest.raises(UpstreamError) as raised:
        await upstream.has_blob(repository, BLOB)
    known = (LOGIN.password, LOGIN.header.removeprefix("Basic "), IDENTITY)
    assert not [secret for secret in known if secret in f"{raised.value} {raised.value!r}"]
    return raised.value


async def sent_in_one(transport: Transport, repository: Repository) -> str:
    """The words of the transient error that a stream to the upstream itself ends with."""
    url = transport.url(f"/v2/{repository.path}/blobs/uploads/?digest={BLOB.digest}")
    scopes = [f"repository:{repository.path}:pull,push"]
    with pytest.raises(UpstreamError) as raised:
        await transport.send(url, pieces(), size=BLOB.size, headers={}, scopes=scopes)
    assert raised.value.transient
    return str(raised.value)


class Fixed:
    """A source that gives one secret."""

    def __init__(self, secret: IdentityToken | BearerToken) -> None:
        self._secret = secret

    async def current(self) -> IdentityToken | BearerToken:
        """The secret."""
        return self._secret


class TestTokens:
    @pytest.mark.parametrize(
        ("source", "method"),
        [(CREDENTIALS, "GET"), (Fixed(IdentityToken(IDENTITY)), "POST")],
        ids=["login", "identity"],
    )
    async def test_one_is_enough_for_an_image(
        self, guarded: Registry, tokens: TokenServer, repository: Repository, source: Source, method: str
    ) -> None:
        """The first refusal brings a token, for what the job needs and with what we have; the rest go with it."""
        async with connected(guarded, source) as transport:
            await image(RegistryClient(transport), repository)
        (asked,) = tokens.asked
        assert (asked.method, asked.scopes) == (method, [f"repository:{repository.path}:pull,push"])

    async def test_a_delete_needs_another(
        self, upstream: RegistryClient, guarded: Registry, tokens: TokenServer, repository: Repository
    ) -> None:
        """The right to delete is asked for only where something is deleted."""
        digest = digest_of(await image(upstream, repository))
        assert await upstream.delete_manifest(repository, digest)
        assert [asked.scopes[0].rpartition(":")[2] for asked in tokens.asked] == ["pull,push", "pull,push,delete"]
        assert guarded.manifest(repository.path, digest) is None

    async def test_several_scopes(self, transport: Transport, tokens: TokenServer, repository: Repository) -> None:
        """In any order and however often, the same scopes are the same token."""
        push, pull = f"repository:{repository.path}:pull,push", "repository:team/base:pull"
        url = transport.url(f"/v2/{repository.path}/tags/list")
        for scopes in ((push, pull), (pull, push), [pull, push, pull]):
            async with transport.request("GET", url, scopes=scopes) as answer:
                assert answer.status == 404
        assert [asked.scopes for asked in tokens.asked] == [sorted((push, pull))]

    async def test_nobody(self, tmp_path: Path, repository: Repository) -> None:
        """A token server may give tokens to all."""
        with TokenServer(tmp_path) as tokens, Registry(tmp_path, tokens=tokens) as registry:
            async with connected(registry, None) as transport:
                await image(RegistryClient(transport), repository)
            assert [asked.authorization for asked in tokens.asked] == [None]

    async def test_many_at_once_share_one(
        self, upstream: RegistryClient, tokens: TokenServer, repository: Repository
    ) -> None:
        """Requests that all need the same token ask for it once."""
        await asyncio.gather(*(upstream.has_blob(repository, BLOB) for _ in range(8)))
        assert len(tokens.asked) == 1

    async def test_it_ends_in_the_middle_of_a_job(
        self, upstream: RegistryClient, guarded: Registry, tokens: TokenServer, repository: Repository
    ) -> None:
        """A token that the upstream does not take any longer, whatever we were told, is replaced without a failure."""
        tokens.lifetime = BRIEF
        assert not await upstream.has_blob(repository, BLOB)
        await asyncio.to_thread(until, lambda: not answers(f"{guarded.url}/v2/", login=tokens.given[0]), "it has ended")
        tokens.lifetime = 300
        await image(upstream, repository)
        assert len(tokens.asked) == 2

    async def test_it_ends_before_a_stream(
        self, transport: Transport, guarded: Registry, tokens: TokenServer, repository: Repository
    ) -> None:
        """A stream that meets the end of its token is a transient failure; the next attempt has a new one."""
        upstream = RegistryClient(transport)
        tokens.lifetime = BRIEF
        assert not await upstream.has_blob(repository, BLOB)
        await asyncio.to_thread(until, lambda: not answers(f"{guarded.url}/v2/", login=tokens.given[0]), "it has ended")
        tokens.lifetime = 300
        assert "401 that a new token may cure" in await sent_in_one(transport, repository)
        await image(upstream, repository)
        assert len(tokens.asked) == 2

    async def test_a_short_life_is_kept_to(
        self, upstream: RegistryClient, tokens: TokenServer, repository: Repository
    ) -> None:
        """What the server says of a token's end is believed: none is used after it, each is fetched before."""
        tokens.claimed = 0
        for _ in range(3):
            await upstream.has_blob(repository, BLOB)
        assert len(tokens.asked) == 3

    async def test_a_stream_cannot_be_sent_again(
        self, transport: Transport, tokens: TokenServer, repository: Repository
    ) -> None:
        """A 401 to a streamed body is transient, and the next attempt goes with a token from its first byte on."""
        assert "401 that a new token may cure" in await sent_in_one(transport, repository)
        assert tokens.asked == []
        await send_blob(RegistryClient(transport), repository, BLOB, pieces())
        assert len(tokens.asked) == 1

    async def test_a_token_that_allows_too_little(
        self, upstream: RegistryClient, tokens: TokenServer, repository: Repository
    ) -> None:
        """A new token that is refused is the last word, after one repetition."""
        tokens.granted = False
        for asked in (1, 2):
            error = await refusal(upstream, repository)
            assert (error.transient, len(tokens.asked)) == (False, asked)
        tokens.granted = True
        assert not await upstream.has_blob(repository, BLOB)

    @pytest.mark.parametrize("source", [None, Credentials("builder", "wrong"), Fixed(IdentityToken("wrong"))])
    async def test_a_wrong_login(self, guarded: Registry, repository: Repository, source: Source | None) -> None:
        """Refused for good, in the words of the token server."""
        async with connected(guarded, source) as transport:
            error = await refusal(RegistryClient(transport), repository)
        assert not error.transient
        assert "/token: 401 UNAUTHORIZED: who are you" in str(error)


class TestTokenServer:
    @pytest.mark.parametrize(
        ("answer", "transient", "words"),
        [
            (Answer(500), True, "500"),
            (Answer(503, b"down", {"Retry-After": "7"}), True, "503 down"),
            (Answer(429, b"", {"Retry-After": "7"}), True, "429"),
            (Answer(403, b"not you"), False, "403 not you"),
            (Answer(404), False, "404"),
            (Answer(307, b"", {"Location": "/token"}), False, "307"),
            (Answer(200, b"<html>sEcReT-identity"), True, "cannot be used"),
            (Answer(200, b'{"token": "' + b"x" * (2 << 20) + b'"}'), True, "cannot be used"),
        ],
    )
    async def test_it_fails(
        self,
        upstream: RegistryClient,
        tokens: TokenServer,
        repository: Repository,
        answer: Answer,
        words: str,
        *,
        transient: bool,
    ) -> None:
        """Overload and accidents pass, a refusal does not; each is told in its words and by its address."""
        tokens.instead = answer
        error = await refusal(upstream, repository)
        assert error.transient is transient
        assert words in str(error)
        assert "/token: " in str(error)
        assert error.retry_after == (7.0 if "Retry-After" in answer.headers else None)

    async def test_it_is_away(self, tmp_path: Path, repository: Repository) -> None:
        """Nobody listens there: transient, with its address."""
        with TokenServer(tmp_path) as tokens:
            registry = Registry(tmp_path, tokens=tokens)
        with registry:
            async with connected(registry, CREDENTIALS) as transport:
                error = await refusal(RegistryClient(transport), repository)
        assert (error.transient, str(URL(tokens.realm).port) in str(error)) == (True, True)

    async def test_it_breaks_off(self, upstream: RegistryClient, tokens: TokenServer, repository: Repository) -> None:
        """Half an answer is none."""
        tokens.instead = Answer(200, b"{", {"Content-Length": "100"})
        assert (await refusal(upstream, repository)).transient

    async def test_over_http_it_gets_no_login_of_an_https_upstream(
        self, tmp_path: Path, tokens: TokenServer, repository: Repository
    ) -> None:
        """Credentials that went over TLS so far are not sent in the clear because somebody says so."""
        with Registry(tmp_path, tokens=tokens, tls=True) as registry:
            async with connected(registry, CREDENTIALS) as transport:
                error = await refusal(RegistryClient(transport), repository)
        assert (error.transient, tokens.asked) == (False, [])
        assert "without TLS" in str(error)


class TestFiles:
    async def test_a_token_of_others(self, guarded: Registry, tokens: TokenServer, repository: Repository) -> None:
        """A token in a file is sent as it is; while it is refused we wait for another."""
        file = guarded.directory / "token"
        scope = f"repository:{repository.path}:pull,push"
        put(file, tokens.issue([scope], lifetime=-60).token)
        async with connected(guarded, TokenFile(file)) as transport:
            upstream = RegistryClient(transport)
            error = await refusal(upstream, repository)
            assert (error.transient, str(file) in str(error)) == (True, True)
            put(file, tokens.issue([scope]).token)
            await image(upstream, repository)
        assert tokens.asked == []

    async def test_a_new_password(self, tmp_path: Path, repository: Repository) -> None:
        """A password that is renewed in its file is used at the next request."""
        file = put(tmp_path / "password", "wrong")
        with Registry(tmp_path / "registry", login=LOGIN) as registry:
            async with connected(registry, PasswordFile(LOGIN.username, file)) as transport:
                upstream = RegistryClient(transport)
                assert not (await refusal(upstream, repository)).transient
                put(file, LOGIN.password)
                await image(upstream, repository)

    async def test_a_credential_helper(
        self, guarded: Registry, tokens: TokenServer, repository: Repository, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A helper on PATH has the login; asked for the first request and for the token, not for the others."""
        directory, server = guarded.directory, guarded.host
        answer = json.dumps({"Username": LOGIN.username, "Secret": LOGIN.password})
        script = f"#!/bin/sh\necho >> {directory}/asked\n[ $(cat) = {server} ] && echo '{answer}'\n"
        put(directory / "docker-credential-rig", script, mode=0o755)
        monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
        config = put(directory / "config.json", json.dumps({"credHelpers": {server: "rig"}}))
        async with connected(guarded, DockerConfig(config, [server])) as transport:
            await image(RegistryClient(transport), repository)
        assert [asked.authorization for asked in tokens.asked] == [LOGIN.header]
        assert size(directory / "asked") == 2


def put(file: Path, text: str, mode: int = 0o600) -> Path:
    """Write a file."""
    file.write_text(text)
    file.chmod(mode)
    return file


def size(file: Path) -> int:
    """How long a file is."""
    return file.stat().st_size


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that lets in who has a certificate."""
    with Registry(tmp_path_factory.mktemp("registry"), client_certificates=True) as registry:
        yield registry


class TestCertificates:
    async def test_ours_is_shown(self, strict: Registry, repository: Repository) -> None:
        """With it the whole way works."""
        async with connected(strict, None) as transport:
            await image(RegistryClient(transport), repository)

    async def test_without_it(self, strict: Registry, repository: Repository) -> None:
        """Refused by TLS itself; transient, because certificates are renewed while jobs wait."""
        tls = tls_context(strict.ca_file, None, None)
        async with transport_to(strict.url, credentials=None, tls=tls) as transport:
            assert (await refusal(RegistryClient(transport), repository)).transient

    @pytest.mark.parametrize("make", [lambda _: None, lambda file: file.write_text("garbage")])
    def test_files_that_are_none(self, tmp_path: Path, make: Callable[[Path], object]) -> None:
        """A missing or garbled one is named."""
        bad = tmp_path / "bad.pem"
        make(bad)
        for files in ((bad, None, None), (None, bad, bad)):
            with pytest.raises(ValueError, match=r"bad\.pem: "):
                tls_context(*files)


@pytest.fixture(scope="module", params=["http", "https"])
def beyond(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry behind a proxy."""
    directory = tmp_path_factory.mktemp("registry")
    with Registry(directory, login=LOGIN, tls=request.param == "https") as registry:
        yield registry


class TestProxy:
    @pytest.mark.parametrize("login", [None, Login("through", "pröxy: 42")], ids=["open", "login"])
    async def test_all_goes_through_it(
        self, beyond: Registry, repository: Repository, tmp_path: Path, login: Login | None
    ) -> None:
        """By tunnel for https, by absolute URLs for http; each has its own login."""
        password = PasswordFile(login.username, put(tmp_path / "proxy", login.password)) if login else None
        async with (
            forward_proxy(login) as proxy,
            connected(beyond, CREDENTIALS, Proxy(URL(proxy.url), password)) as transport,
        ):
            await image(RegistryClient(transport), repository)
        tunnelled = {method == "CONNECT" for method, target in proxy.asked if beyond.host in target}
        assert tunnelled == {beyond.ca_file is not None}

    async def test_a_wrong_login(self, beyond: Registry, repository: Repository, tmp_path: Path) -> None:
        """Transient, as it is about the way and not about the request; it shows nothing of the login."""
        password = PasswordFile("through", put(tmp_path / "proxy", "hunter2"))
        async with (
            forward_proxy(Login("through", "right")) as proxy,
            connected(beyond, CREDENTIALS, Proxy(URL(proxy.url), password)) as transport,
        ):
            error = await refusal(RegistryClient(transport), repository)
        assert (error.transient, proxy.asked) == (True, [])
        assert "hunter2" not in f"{error} {error!r} {error.__cause__!r}"

    async def test_it_is_away(self, beyond: Registry, repository: Repository) -> None:
        """Transient, with the address of the proxy."""
        async with connected(beyond, CREDENTIALS, Proxy(URL("http://127.0.0.1:1"))) as transport:
            error = await refusal(RegistryClient(transport), repository)
        assert (error.transient, "127.0.0.1:1" in str(error)) == (True, True)

    async def test_the_environment_does_not_count(
        self, beyond: Registry, repository: Repository, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A proxy that only the environment names is not asked."""
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        async with connected(beyond, CREDENTIALS) as transport:
            assert not await RegistryClient(transport).has_blob(repository, BLOB)
