"""Who is calling, of all the ways that a listener has to tell."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from mirror.core.access import ANONYMOUS, Principal
from mirror.identity.caller import Bearers, Caller, UnidentifiedError
from mirror.identity.certificates import Certificates
from mirror.identity.htpasswd import Htpasswd
from mirror.identity.networks import Networks

TOKEN_USER = "token"  # noqa: S105 - a user name
"""Who has no password, but a bearer token in its place."""


@dataclass(frozen=True, slots=True)
class Identification:
    """Makes a principal of a caller.

    What he shows counts before where he comes from, and if it is not accepted nothing else does: whoever has a wrong
    password is told so, and is not somebody else instead. Without any kind of credentials the header is none of our
    business. `tenants` are those of principals by their names; `otherwise` is who it is when nothing else says so.
    """

    logins: Htpasswd | None = None
    bearers: Sequence[Bearers] = ()
    certificates: Certificates | None = None
    networks: Networks | None = None
    tenants: Mapping[str, str] = field(default_factory=dict)
    otherwise: Principal = ANONYMOUS

    @property
    def takes_credentials(self) -> bool:
        """Whether there is anything that a client could send."""
        return bool(self.logins or self.bearers)

    async def identify(self, caller: Caller) -> Principal:
        """Who it is.

        Raises:
            UnidentifiedError: what he shows is not accepted.
            TooManyLoginsError: he is to come again later.
            UnusableFileError: for now nobody can tell.
        """
        if caller.authorization is not None and self.takes_credentials:
            principal = await self._shown(caller.authorization, caller.address or "")
        else:
            principal = self._seen(caller)
        return replace(principal, tenant=self.tenants.get(str(principal), principal.tenant))

    def _seen(self, caller: Caller) -> Principal:
        if self.certificates and caller.subject is not None:
            return self.certificates.principal(caller.subject)
        known = self.networks.principal(caller.address) if self.networks and caller.address else None
        return known or self.otherwise

    async def _shown(self, authorization: str, source: str) -> Principal:
        scheme, _, value = authorization.partition(" ")
        match scheme.lower():
            case "basic":
                principal = await self._login(*_login(value), source)
            case "bearer":
                principal = self._bearer(value.strip())
            case _:
                raise UnidentifiedError("credentials of a kind that is not taken here")
        if principal is None:
            raise UnidentifiedError(f"{scheme.lower()} credentials that nobody here has")
        return principal

    async def _login(self, user: str, password: str, source: str) -> Principal | None:
        """Clients that can only log in send a token as the password of TOKEN_USER."""
        if user == TOKEN_USER:
            return self._bearer(password)
        return await self.logins.principal(user, password, source) if self.logins else None

    def _bearer(self, token: str) -> Principal | None:
        if not token.isascii():
            return None
        found = (bearers.principal(token) for bearers in self.bearers)
        return next((principal for principal in found if principal), None)


def _login(value: str) -> tuple[str, str]:
    """User and password of RFC 7617. Raises UnidentifiedError."""
    try:
        user, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except ValueError:
        raise UnidentifiedError("basic credentials that are none") from None
    if not colon:
        raise UnidentifiedError("basic credentials without a password")
    return user, password
