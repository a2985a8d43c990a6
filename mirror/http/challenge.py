"""What a client that is nobody yet is told to come back with.

Source: RFC 7235, RFC 7617 (Basic), RFC 6750 (Bearer); distribution, "Token Authentication Specification".
"""

from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import hdrs, web

from mirror.http import target
from mirror.identity.issuer import SERVICE
from mirror.oci.errors import Problem, RegistryError

TOKEN_PATH = "/token"  # noqa: S105 - where tokens are got, none itself


@dataclass(frozen=True, slots=True)
class Challenge:
    """How a listener's clients are to say who they are.

    By a token of ours if it `issues` some, of the server at `realm` for `service` if there is one, else by a login.
    Without `takes_credentials` there is nothing that they could send.
    """

    takes_credentials: bool
    issues: bool = False
    realm: str | None = None
    service: str = SERVICE

    def refusal(self, request: web.Request, detail: str, *, scope: str = "", error: str = "") -> RegistryError:
        """UNAUTHORIZED with what to come back with, for the `scope` that the request needs.

        `error` (RFC 6750, 3.1) is what is wrong with the token that was shown: a client that is not told may show it
        again.
        """
        header = self._header(request, {"scope": scope, "error": error})
        return RegistryError(Problem.UNAUTHORIZED, detail, {hdrs.WWW_AUTHENTICATE: header})

    def _header(self, request: web.Request, about: Mapping[str, str]) -> str:
        realm = f"{_origin(request)}{TOKEN_PATH}" if self.issues else self.realm
        if realm is None:
            return f'Basic realm="{SERVICE}", charset="UTF-8"'
        parameters = {"realm": realm, "service": self.service, **about}
        return "Bearer " + ",".join(f'{name}="{value}"' for name, value in parameters.items() if value)


def _origin(request: web.Request) -> str:
    """Where the client thinks that it is. Raises RegistryError: BAD_REQUEST for what is no host."""
    if origin := target.origin(request):
        return origin
    raise RegistryError(Problem.BAD_REQUEST, "the Host header is none")
