"""Around every request of a listener: who is calling."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from mirror.core.access import Policy, Principal
from mirror.core.fairness import Meter
from mirror.core.party import Party, party_of, source_of
from mirror.core.ports import Clock
from mirror.http.challenge import Challenge
from mirror.identity.caller import Caller, TooManyLoginsError, UnidentifiedError
from mirror.identity.certificates import subject_of
from mirror.identity.identification import Identification
from mirror.identity.issuer import Issuer
from mirror.oci.errors import Problem, RegistryError
from mirror.runtime.watched import UnusableFileError

_log = structlog.get_logger(__name__)
_RETRY_AFTER = "5"
# A refusal is nearly as much work as what was asked for, and many clients ask again at once.
_HELD_BACK = 1.0


@dataclass(frozen=True, slots=True)
class Door:
    """How a listener tells who is calling, what it asks for, what they may do then, and whether it gives tokens."""

    identification: Identification
    challenge: Challenge
    policy: Policy
    issuer: Issuer | None = None


DOOR = web.RequestKey("door", Door)
"""What a request is judged by, from its beginning to its end."""

PRINCIPAL = web.RequestKey("principal", Principal)
"""Who sent a request."""

PARTY = web.RequestKey("party", Party)
"""Whom it counts for."""


def identify(current: Callable[[], Door], meter: Meter, clock: Clock) -> Middleware:
    """Put the principal on each request, and into what is logged of it; and count it as one of his.

    Those that are not identified count for the place that they came from.
    """

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[DOOR] = door = current()
        caller = caller_of(request)
        try:
            principal = await identified(request, caller, door)
        except RegistryError:
            await _count(meter, source_of(caller.address), clock)
            raise
        request[PRINCIPAL] = principal
        request[PARTY] = party = party_of(principal, caller.address)
        await _count(meter, party.name, clock)
        if principal.is_anonymous:
            return await handler(request)
        with structlog.contextvars.bound_contextvars(principal=str(principal), tenant=principal.tenant or None):
            return await handler(request)

    return around


async def _count(meter: Meter, party: str, clock: Clock) -> None:
    """Count a request; on its connection there is none for a while, if it is one too many. Raises RegistryError."""
    try:
        meter.take(party)
    except RegistryError as refusal:
        _log.warning("access.too_many", party=party, reason=refusal.detail)
        await clock.sleep(_HELD_BACK)
        raise


async def identified(request: web.Request, caller: Caller, door: Door) -> Principal:
    """Who a caller is. Raises RegistryError: UNAUTHORIZED, TOO_MANY_LOGINS, IDENTITY_UNAVAILABLE."""
    try:
        return await door.identification.identify(caller)
    except UnidentifiedError as error:
        _log.warning("access.unidentified", reason=str(error), source=caller.address)
        raise door.challenge.refusal(request, "", error="invalid_token" if _shows_token(caller) else "") from None
    except TooManyLoginsError:
        raise RegistryError(Problem.TOO_MANY_LOGINS, headers={hdrs.RETRY_AFTER: _RETRY_AFTER}) from None
    except UnusableFileError as error:
        _log.error("access.unusable", reason=str(error))
        raise RegistryError(Problem.IDENTITY_UNAVAILABLE, headers={hdrs.RETRY_AFTER: _RETRY_AFTER}) from None


def _shows_token(caller: Caller) -> bool:
    return (caller.authorization or "").lower().startswith("bearer ")


def caller_of(request: web.Request) -> Caller:
    """What connection and request say of who is there; what proxies claim of others is not believed."""
    transport = request.transport
    peer = transport.get_extra_info("peername") if transport else None
    certificate = transport.get_extra_info("peercert") if transport else None
    return Caller(
        address=peer[0] if isinstance(peer, tuple) else None,
        authorization=request.headers.get(hdrs.AUTHORIZATION),
        subject=subject_of(certificate) if certificate else None,
    )
