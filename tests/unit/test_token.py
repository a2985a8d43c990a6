"""Tokens: what is asked, what answers mean, and which are held for how long."""

import asyncio
from dataclasses import dataclass, field

import pytest
from yarl import URL

from mirror.core.errors import UpstreamError
from mirror.upstream.challenge import Challenge
from mirror.upstream.credentials import Credentials, IdentityToken
from mirror.upstream.token import TokenRequest, Tokens, read_token, token_request
from tests.unit.clock import ManualClock

CHALLENGE = Challenge(URL("https://auth.example.com/token?a=b"), "registry.example.com")
SCOPES = ("repository:team/app:pull,push", "repository:team/base:pull")
LOGIN = Credentials("builder", "hunter2")


def test_a_question_with_a_login() -> None:
    """A GET with every scope, the realm's own query, and the login in its header only."""
    request = token_request(CHALLENGE, SCOPES, LOGIN)
    assert (request.url.path, request.form, dict(request.headers)) == ("/token", None, {"Authorization": LOGIN.header})
    assert list(request.url.query.items()) == [
        ("a", "b"),
        ("service", "registry.example.com"),
        *(("scope", scope) for scope in SCOPES),
    ]


def test_a_question_of_nobody() -> None:
    """Without credentials it shows none, and without a service it names none."""
    request = token_request(Challenge(CHALLENGE.realm, ""), (), None)
    assert (request.url, request.headers, request.form) == (CHALLENGE.realm, {}, None)


def test_a_question_with_an_identity_token() -> None:
    """A POST as OAuth2 has it, with nothing in the address."""
    request = token_request(CHALLENGE, SCOPES, IdentityToken("sEcReT"))
    assert (request.url, request.headers) == (CHALLENGE.realm, {})
    assert request.form == {
        "grant_type": "refresh_token",
        "refresh_token": "sEcReT",
        "client_id": "registry-mirror",
        "service": "registry.example.com",
        "scope": " ".join(SCOPES),
    }


@pytest.mark.parametrize("secret", [LOGIN, IdentityToken("hunter2")])
def test_a_question_does_not_show_its_secret(secret: Credentials | IdentityToken) -> None:
    """Neither the secret nor what is made of it is in a `repr`."""
    request = token_request(CHALLENGE, SCOPES, secret)
    assert not [text for text in ("hunter2", LOGIN.header) if text in f"{request!r} {secret!r}"]


@pytest.mark.parametrize(
    ("raw", "text", "lifetime"),
    [
        (b'{"token": "abc"}', "abc", 60),
        (b'{"access_token": "abc", "expires_in": 300, "scope": "x"}', "abc", 300),
        (b'{"token": "abc", "access_token": "other", "expires_in": "90"}', "abc", 90),
        (b'{"token": "abc", "expires_in": null}', "abc", 60),
        (b'{"token": "", "access_token": "abc", "expires_in": 0}', "abc", 0),
    ],
)
def test_an_answer(raw: bytes, text: str, lifetime: float) -> None:
    """Either name of the token, and a minute where no time is said."""
    token = read_token(raw)
    assert (token.text, token.lifetime) == (text, lifetime)
    assert text not in repr(token)


GARBAGE = {
    "empty": b"",
    "page": b"<html>sEcReT</html>",
    "null": b"null",
    "no token": b'{"expires_in": 60}',
    "token of another type": b'{"token": ["sEcReT"]}',
    "token with a line break": b'{"token": "sEcReT\\r\\nX: y"}',
    "token beyond ASCII": '{"token": "sEcReTé"}'.encode(),
    "expiry in words": b'{"token": "sEcReT", "expires_in": "soon"}',
    "cut short": b'{"token": "sEcReT',
    "nested": b'{"x": ' + b"[" * 100_000,
}


@dataclass
class Server:
    """A token server in memory; it answers once `open` is set."""

    answer: bytes | UpstreamError | None = None
    asked: list[TokenRequest] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, request: TokenRequest) -> bytes:
        """Number the tokens, so that each is another."""
        self.asked.append(request)
        await self.open.wait()
        if isinstance(self.answer, UpstreamError):
            raise self.answer
        return self.answer or b'{"token": "t%d", "expires_in": 300}' % len(self.asked)


@pytest.fixture
def server() -> Server:
    server = Server()
    server.open.set()
    return server


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tokens(server: Server, clock: ManualClock) -> Tokens:
    return Tokens(server.ask, clock)


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
async def test_an_answer_that_is_none(server: Server, tokens: Tokens, answer: bytes) -> None:
    """Transient, by the name of the realm, without a byte of what was said."""
    server.answer = answer or b" "
    with pytest.raises(UpstreamError, match=r"https://auth.example.com/token: .*cannot be used") as refusal:
        await tokens.fetch(CHALLENGE, SCOPES, LOGIN)
    assert refusal.value.transient
    assert "sEcReT" not in f"{refusal.value!r} {refusal.value.__cause__!r}"


async def test_a_token_is_held_until_shortly_before_its_end(tokens: Tokens, clock: ManualClock) -> None:
    """It must not end on its way to the upstream; then it is not held any longer."""
    assert tokens.held(CHALLENGE, SCOPES) is None
    assert await tokens.fetch(CHALLENGE, SCOPES, LOGIN) == "t1"
    clock.advance(269)
    assert tokens.held(CHALLENGE, SCOPES) == "t1"
    clock.advance(1)
    assert tokens.held(CHALLENGE, SCOPES) is None


async def test_a_short_life(server: Server, tokens: Tokens, clock: ManualClock) -> None:
    """Of a token that lives for seconds most of them are used."""
    server.answer = b'{"token": "abc", "expires_in": 10}'
    await tokens.fetch(CHALLENGE, SCOPES, LOGIN)
    clock.advance(7.9)
    assert tokens.held(CHALLENGE, SCOPES) == "abc"
    clock.advance(0.1)
    assert tokens.held(CHALLENGE, SCOPES) is None


async def test_the_time_that_the_answer_took_counts(server: Server, tokens: Tokens, clock: ManualClock) -> None:
    """A token's life begins before we hear of it."""
    server.open.clear()
    fetching = asyncio.ensure_future(tokens.fetch(CHALLENGE, SCOPES, LOGIN))
    await asyncio.sleep(0)
    clock.advance(270)
    server.open.set()
    assert await fetching == "t1"
    assert tokens.held(CHALLENGE, SCOPES) is None


async def test_each_set_of_scopes_has_its_own(tokens: Tokens) -> None:
    """Another scope or another realm is another token."""
    assert await tokens.fetch(CHALLENGE, SCOPES, LOGIN) == "t1"
    assert await tokens.fetch(CHALLENGE, SCOPES[:1], LOGIN) == "t2"
    assert await tokens.fetch(Challenge(CHALLENGE.realm, "other"), SCOPES, LOGIN) == "t3"
    assert [tokens.held(CHALLENGE, SCOPES), tokens.held(CHALLENGE, SCOPES[:1])] == ["t1", "t2"]


async def test_a_forgotten_token(tokens: Tokens) -> None:
    """It is not held any longer; the others are."""
    for scopes in (SCOPES, SCOPES[:1]):
        await tokens.fetch(CHALLENGE, scopes, LOGIN)
    tokens.forget("t1")
    assert [tokens.held(CHALLENGE, SCOPES), tokens.held(CHALLENGE, SCOPES[:1])] == [None, "t2"]


async def test_those_who_need_the_same_share_it(server: Server, tokens: Tokens) -> None:
    """One question for many; later ones ask anew."""
    server.open.clear()
    fetching = [asyncio.ensure_future(tokens.fetch(CHALLENGE, SCOPES, LOGIN)) for _ in range(5)]
    await asyncio.sleep(0)
    server.open.set()
    assert await asyncio.gather(*fetching) == ["t1"] * 5
    assert await tokens.fetch(CHALLENGE, SCOPES, LOGIN) == "t2"


async def test_they_share_a_failure_too(server: Server, tokens: Tokens) -> None:
    """A token server that is down is asked once; the next who comes asks again, and may have more luck."""
    server.open.clear()
    server.answer = UpstreamError("down", transient=True)
    fetching = [asyncio.ensure_future(tokens.fetch(CHALLENGE, SCOPES, LOGIN)) for _ in range(5)]
    await asyncio.sleep(0)
    server.open.set()
    assert await asyncio.gather(*fetching, return_exceptions=True) == [server.answer] * 5
    assert len(server.asked) == 1
    server.answer = None
    assert await tokens.fetch(CHALLENGE, SCOPES, LOGIN) == "t2"


async def test_who_is_cancelled_leaves_it_to_the_next(server: Server, tokens: Tokens) -> None:
    """A request that is given up in the middle of the fetch takes nobody with it."""
    server.open.clear()
    first, second = [asyncio.ensure_future(tokens.fetch(CHALLENGE, SCOPES, LOGIN)) for _ in range(2)]
    await asyncio.sleep(0)
    first.cancel()
    server.open.set()
    assert await second == "t2"


async def test_tokens_do_not_pile_up(tokens: Tokens, clock: ManualClock) -> None:
    """What has ended is dropped when another is fetched: repositories come and go for ever."""
    for number in range(100):
        await tokens.fetch(CHALLENGE, (f"repository:r{number}:pull",), LOGIN)
        clock.advance(100)
    assert len(tokens._slots) < 5
