"""`/token`: a short-lived token for whoever can say who he is.

Source: distribution, "Token Authentication Specification" (GET) and "Oauth2 Token Authentication" (POST).
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from aiohttp import hdrs, web

from mirror.core.access import Action, Policy, Principal, Scope
from mirror.core.registries import Registries
from mirror.http.body import BodyReader
from mirror.http.challenge import TOKEN_PATH
from mirror.http.identify import DOOR, PRINCIPAL, Door, caller_of, identified
from mirror.identity.claims import actions
from mirror.identity.identification import TOKEN_USER
from mirror.identity.issuer import Issued, Issuer
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.names import Repository, parse_path

_MOST_SCOPES = 64
_LONGEST_FORM = 16 * 1024
_MOST_FIELDS = 32


class TokenHandlers:
    """The handlers of tokens. A token is good for what was asked for, as far as the rules would allow it."""

    def __init__(self, registries: Registries, bodies: BodyReader) -> None:
        self._registries = registries
        self._bodies = bodies

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        return [web.get(TOKEN_PATH, self.get, allow_head=False), web.post(TOKEN_PATH, self.post)]

    async def get(self, request: web.Request) -> web.Response:
        """Give a token to who the request is from."""
        return self._answer(request, _issuer(request), request[PRINCIPAL], request.query.getall("scope", []))

    async def post(self, request: web.Request) -> web.Response:
        """Give a token for what the form shows: a login, or a token of another kind (`refresh_token`)."""
        issuer = _issuer(request)
        body = await self._bodies.whole(request, _LONGEST_FORM, Problem.FORM_TOO_LARGE)
        form = _form(body)
        caller = replace(caller_of(request), authorization=_authorization(form))
        principal = await identified(request, caller, request[DOOR])
        return self._answer(request, issuer, principal, [form.get("scope", "")])

    def _answer(
        self, request: web.Request, issuer: Issuer, principal: Principal, wanted: Iterable[str]
    ) -> web.Response:
        """A token, as both kinds of clients read it."""
        door = request[DOOR]
        if principal.scopes is not None:  # or a token could be renewed for ever, and for more than it is good for
            raise door.challenge.refusal(request, "a token does not get another one")
        issued = issuer.issue(principal, self._granted(door, principal, scopes(wanted)))
        return web.json_response(_body(issued), headers={hdrs.CACHE_CONTROL: "no-store"})

    def _granted(self, door: Door, principal: Principal, wanted: Sequence[Scope]) -> list[Scope]:
        """What any registry would allow; at its use the rules decide again, about the registry that is meant then."""
        return [Scope(scope.path, frozenset(self._allowed(door.policy, principal, scope))) for scope in wanted]

    def _allowed(self, policy: Policy, principal: Principal, scope: Scope) -> Iterable[Action]:
        for action in scope.actions:
            repositories = (Repository(registry, scope.path) for registry in self._registries.names)
            if any(policy.decide(principal, action, repository).allowed for repository in repositories):
                yield action


def _issuer(request: web.Request) -> Issuer:
    """Who makes the tokens. Raises HTTPNotFound: nobody does."""
    issuer = request[DOOR].issuer
    if issuer is None:
        raise web.HTTPNotFound
    return issuer


def _body(issued: Issued) -> dict[str, object]:
    return {
        "token": issued.token,
        "access_token": issued.token,
        "expires_in": issued.seconds,
        "issued_at": datetime.fromtimestamp(issued.at, UTC).isoformat(),
    }


def scopes(wanted: Iterable[str]) -> list[Scope]:
    """What a client asks for: `repository:<path>:<action>,<action>`, several with blanks between them.

    Other types of resources are passed over, as the specification has it. Raises RegistryError: BAD_REQUEST,
    NAME_INVALID.
    """
    texts = [text for scopes in wanted for text in scopes.split()]
    if len(texts) > _MOST_SCOPES:
        raise RegistryError(Problem.BAD_REQUEST, f"at most {_MOST_SCOPES} scopes")
    return [_scope(text) for text in texts if text.startswith("repository:")]


def _scope(text: str) -> Scope:
    path, _, names = text.removeprefix("repository:").rpartition(":")
    return Scope(parse_path(path), actions(names.split(",")))


def _authorization(form: Mapping[str, str]) -> str:
    """What a form shows, as a header shows it. Raises RegistryError: BAD_REQUEST."""
    match form.get("grant_type"):
        case "password":
            user, password = form.get("username", ""), form.get("password", "")
        case "refresh_token":
            user, password = TOKEN_USER, form.get("refresh_token", "")
        case _:
            raise RegistryError(Problem.BAD_REQUEST, "grant_type is password or refresh_token")
    if ":" in user:  # or it would be taken for a shorter name and a longer password
        raise RegistryError(Problem.BAD_REQUEST, "a user name has no colon")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _form(body: bytes) -> dict[str, str]:
    """The fields of a form. Raises RegistryError: BAD_REQUEST."""
    try:
        return dict(parse_qsl(body.decode(), strict_parsing=True, max_num_fields=_MOST_FIELDS, errors="strict"))
    except ValueError:
        raise RegistryError(Problem.BAD_REQUEST, "the form is none") from None
