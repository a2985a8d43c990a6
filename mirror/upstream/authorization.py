"""What is shown to an upstream: a login, a token that was given to us, or one that we get for what is to be done."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from yarl import URL

from mirror.core.errors import UpstreamError
from mirror.core.ports import Clock
from mirror.upstream.challenge import Challenge, bearer_challenge
from mirror.upstream.credentials import BearerToken, Credentials, IdentityToken, Source
from mirror.upstream.token import Ask, Scopes, Tokens


@dataclass(frozen=True, slots=True)
class Access:
    """What a request shows. A `new` token was fetched for this very request; a `given` one is not ours to renew."""

    headers: dict[str, str] = field(default_factory=dict, repr=False)
    token: str = field(default="", repr=False)
    new: bool = False
    given: BearerToken | None = None


class Authorization:
    """Decides what to show to the upstream at `base`, and whether a 401 is the last word.

    What the upstream asks for is remembered, so that later requests carry a token at once: a streamed body cannot be
    sent again.
    """

    def __init__(self, base: URL, source: Source | None, ask: Ask, clock: Clock) -> None:
        self._base = base
        self._source = source
        self._tokens = Tokens(ask, clock)
        self._challenge: Challenge | None = None

    async def access(self, scopes: Sequence[str]) -> Access:
        """What to show with a request that needs these scopes.

        Raises:
            UpstreamError: the credentials cannot be told, or the token server refused or failed.
        """
        wanted = tuple(sorted(set(scopes)))
        if self._challenge and (token := self._tokens.held(self._challenge, wanted)):
            return Access(_bearer(token), token)
        secret = await self._source.current() if self._source else None
        if isinstance(secret, BearerToken):
            return Access(_bearer(secret.token), given=secret)
        if self._challenge:
            return await self._fetched(self._challenge, wanted, secret)
        return Access({"Authorization": secret.header}) if isinstance(secret, Credentials) else Access()

    def may_cure(self, access: Access, challenges: Sequence[str]) -> bool:
        """Whether a token that is yet to be had may turn a 401 into a success; `challenges` are its headers.

        Raises:
            UpstreamError: transient, because others are to renew what was shown.
        """
        if access.given:
            reason = f"401 with the token of {access.given.file}, which others are to renew"
            raise UpstreamError(reason, transient=True)
        self._challenge = bearer_challenge(challenges)
        if access.token:
            self._tokens.forget(access.token)
        return self._challenge is not None and not access.new

    async def _fetched(
        self, challenge: Challenge, scopes: Scopes, secret: Credentials | IdentityToken | None
    ) -> Access:
        if secret is not None and self._base.scheme == "https" != challenge.realm.scheme:
            reason = f"asks for a token of {challenge.realm.with_query(None)}: credentials do not go there without TLS"
            raise UpstreamError(reason, transient=False)
        token = await self._tokens.fetch(challenge, scopes, secret)
        return Access(_bearer(token), token, new=True)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
