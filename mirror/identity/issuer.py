"""Short-lived tokens of our own, which clients get for what they show once.

Source: distribution, "Token Authentication Specification"; RFC 7519.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

from joserfc import jwt
from joserfc.errors import ClaimError, JoseError
from joserfc.jwk import OctKey

from mirror.core.access import Principal, Scope
from mirror.core.ports import Clock
from mirror.identity import claims as claims_of
from mirror.identity.caller import UnidentifiedError
from mirror.identity.jwt import Expected, decoded

SERVICE = "registry-mirror"
"""What these tokens are for, and who made them."""

_ALGORITHM = "HS256"
_KEY_BITS = 256
_EXPECTED = Expected(audience=SERVICE, issuer=SERVICE, leeway=0.0)


@dataclass(frozen=True, slots=True)
class Issued:
    """A token, and for how many seconds from when (Unix time) it is good."""

    token: str
    seconds: int
    at: float


class Issuer:
    """Makes tokens, and knows them again.

    They are signed with a key that nobody else has and that ends with the process: a client whose token is refused
    after a restart gets another one by itself. They are for `seconds`; no clock but ours counts, so there is no leeway.
    """

    def __init__(self, clock: Clock, seconds: int) -> None:
        self._clock = clock
        self._seconds = seconds
        self._key = OctKey.generate_key(_KEY_BITS)

    def issue(self, principal: Principal, granted: Sequence[Scope]) -> Issued:
        """A token for somebody, good for no more than was granted."""
        now = self._clock.now()
        claims = {
            "iss": SERVICE,
            "aud": SERVICE,
            "sub": principal.name,
            "kind": principal.kind,
            "tenant": principal.tenant,
            "iat": int(now),
            "exp": int(now) + self._seconds,
            "jti": uuid4().hex,
            "access": claims_of.access(granted),
        }
        return Issued(jwt.encode({"alg": _ALGORITHM}, claims, self._key), self._seconds, now)

    def principal(self, token: str) -> Principal | None:
        """See `Bearers`."""
        try:
            claims = decoded(token, self._key, _EXPECTED, self._clock)
        except ClaimError as error:
            raise UnidentifiedError("a token of ours that is not good any more") from error
        except (JoseError, ValueError):
            return None
        return Principal(claims["kind"], claims["sub"], claims["tenant"], claims_of.scopes(claims))
