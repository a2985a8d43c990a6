"""Bearer tokens: what to ask a token server for, what its answer means, and the tokens that are held.

Source: distribution's token specification ("Token Authentication", GET) and its OAuth2 flavour (POST); RFC 6749
section 6 (`refresh_token`).
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import msgspec
from yarl import URL

from mirror.core.errors import UpstreamError
from mirror.core.ports import Clock
from mirror.upstream.challenge import Challenge
from mirror.upstream.credentials import Credentials, IdentityToken

Scopes = tuple[str, ...]

_CLIENT = "registry-mirror"
_LIFETIME = 60.0
_MARGIN = 30.0
_SENDABLE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request to a token server: a POST when it has a `form`, else a GET."""

    url: URL
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Token:
    """A token, and for how many seconds from when it was asked for it is good."""

    text: str = field(repr=False)
    lifetime: float


Ask = Callable[[TokenRequest], Awaitable[bytes]]


def token_request(challenge: Challenge, scopes: Scopes, secret: Credentials | IdentityToken | None) -> TokenRequest:
    """What to ask for a token for exactly these scopes, with what we may show."""
    service = {"service": challenge.service} if challenge.service else {}
    if isinstance(secret, IdentityToken):
        grant = {"grant_type": "refresh_token", "refresh_token": secret.token, "client_id": _CLIENT}
        return TokenRequest(challenge.realm, form={**grant, **service, "scope": " ".join(scopes)})
    url = challenge.realm.extend_query([*service.items(), *(("scope", scope) for scope in scopes)])
    return TokenRequest(url, headers={} if secret is None else {"Authorization": secret.header})


class _Answer(msgspec.Struct, frozen=True):
    token: str | None = None
    access_token: str | None = None
    expires_in: float | None = None


def read_token(raw: bytes) -> Token:
    """The token of an answer; one that does not say how long it lives lives for a minute.

    Raises:
        ValueError: it holds none that could be sent.
    """
    answer = msgspec.json.decode(raw, type=_Answer, strict=False)
    text = answer.token or answer.access_token or ""
    if not _SENDABLE.fullmatch(text):
        raise ValueError("no token in it")
    return Token(text, _LIFETIME if answer.expires_in is None else answer.expires_in)


class Tokens:
    """The tokens that are held, one for each set of scopes; `ask` puts a question to a token server."""

    def __init__(self, ask: Ask, clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._slots: dict[tuple[Challenge, Scopes], _Slot] = {}

    def held(self, challenge: Challenge, scopes: Scopes) -> str | None:
        """A token that is good for a while yet; None when there is none."""
        slot = self._slots.get((challenge, scopes))
        return slot.token if slot and slot.good_until > self._clock.monotonic() else None

    async def fetch(self, challenge: Challenge, scopes: Scopes, secret: Credentials | IdentityToken | None) -> str:
        """A new token; those who need it while it is on its way share it, or the failure to get it.

        Raises:
            UpstreamError: the token server refused or failed.
        """
        slot = self._slots.setdefault((challenge, scopes), _Slot())
        seen = slot.rounds
        async with slot.lock:
            if slot.rounds == seen:
                await self._fill(slot, token_request(challenge, scopes, secret))
            if slot.failure is not None:
                raise slot.failure
            return slot.token

    def forget(self, token: str) -> None:
        """The upstream does not take this token any longer."""
        for slot in self._slots.values():
            if slot.token == token:
                slot.good_until = 0.0

    async def _fill(self, slot: "_Slot", request: TokenRequest) -> None:
        self._drop_stale()
        asked = self._clock.monotonic()
        try:
            token = _token(request, await self._ask(request))
        except UpstreamError as error:
            slot.failure = error
        else:
            slot.failure, slot.token = None, token.text
            slot.good_until = asked + token.lifetime - min(_MARGIN, token.lifetime / 5)
        slot.rounds += 1  # not in a `finally`: who is cancelled leaves the fetch to the next in line

    def _drop_stale(self) -> None:
        """Repositories come and go; their tokens must not pile up."""
        now = self._clock.monotonic()
        self._slots = {key: slot for key, slot in self._slots.items() if slot.is_live(now)}


@dataclass(slots=True)
class _Slot:
    """One set of scopes: its token, how often it was fetched, and how the last fetch failed."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    token: str = field(default="", repr=False)
    good_until: float = 0.0
    rounds: int = 0
    failure: UpstreamError | None = None

    def is_live(self, now: float) -> bool:
        """Whether it holds a good token, or somebody is about to get one."""
        return self.lock.locked() or self.good_until > now


def _token(request: TokenRequest, raw: bytes) -> Token:
    try:
        return read_token(raw)
    except (ValueError, RecursionError) as error:
        # The cause is not kept, nor what was answered: half of it may be a token.
        reason = f"{request.url.with_query(None)}: the answer of the token server cannot be used: {error}"
        raise UpstreamError(reason, transient=True) from None
