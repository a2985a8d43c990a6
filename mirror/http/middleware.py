"""Around every request: an id, one line in the log, and the one place where an error becomes an answer."""

import re
import uuid
from collections.abc import Callable

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from mirror.core.errors import (
    ContentMissingError,
    JournalUnavailableError,
    StoreUnavailableError,
    TenantFullError,
    UpstreamError,
)
from mirror.core.ports import Clock
from mirror.http.identify import PRINCIPAL
from mirror.http.peer import peer
from mirror.oci.errors import Problem, RegistryError

REQUEST_ID = web.RequestKey("id", str)
"""What a request is called in the log."""

_ID_HEADER = "X-Request-Id"

Answered = Callable[[str, str, int, float], None]
"""Is told of each answer: the request's method, the pattern of its path, the status and the seconds it took."""

_log = structlog.get_logger(__name__)
_RETRY_AFTER = "2"
_FULL_FOR = "60"
QUIET = web.RequestKey("quiet", bool)
"""On a request that is no news."""

_GIVEN = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CLIENT_GONE = 499  # for the log, in the words of nginx: nobody is left to be told


def request_log(clock: Clock, answered: Answered) -> Middleware:
    """Give every request an id, and write one line when it has been answered; and count it."""

    @web.middleware
    async def log(request: web.Request, handler: Handler) -> web.StreamResponse:
        request_id = request[REQUEST_ID] = _id_of(request)
        who = peer(request)  # before the connection may be gone
        began = clock.monotonic()
        status = _CLIENT_GONE
        with structlog.contextvars.bound_contextvars(request=request_id):
            try:
                response = await handler(request)
                status = response.status
                return response
            finally:
                seconds = clock.monotonic() - began
                answered(method_of(request), route_of(request), status, seconds)
                if QUIET not in request:
                    _log.info(
                        "http.request",
                        method=request.method,
                        path=request.path,
                        ns=request.query.get("ns"),
                        status=status,
                        seconds=round(seconds, 4),
                        received=request.content_length,
                        agent=request.headers.get("User-Agent"),
                        principal=_principal(request),
                        **who,
                    )

    return log


def _id_of(request: web.Request) -> str:
    """What the client calls it, if that can be taken for an id, else a new one."""
    given = request.headers.get(_ID_HEADER, "")
    return given if _GIVEN.fullmatch(given) else uuid.uuid4().hex


async def name_request(request: web.Request, response: web.StreamResponse) -> None:
    """Say in an answer what the request is called in the log."""
    if REQUEST_ID in request:
        response.headers[_ID_HEADER] = request[REQUEST_ID]


def method_of(request: web.Request) -> str:
    """One of those that there are: clients may call theirs what they like."""
    return request.method if request.method in hdrs.METH_ALL else "other"


def route_of(request: web.Request) -> str:
    """The pattern of the path, of which there are a few."""
    resource = request.match_info.route.resource
    return resource.canonical if resource else "none"


def _principal(request: web.Request) -> str | None:
    """Who was asking, where that is known."""
    principal = request.get(PRINCIPAL)
    return None if principal is None or principal.is_anonymous else str(principal)


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what is raised into the OCI error body that the one table says."""
    try:
        return await handler(request)
    except ConnectionError:
        return web.Response(status=_CLIENT_GONE)
    except Exception as error:  # noqa: BLE001 - the last one who can answer; `_refusal` logs what it does not know
        refusal = _refusal(error)
    return web.json_response(refusal.body(), status=refusal.problem.status, headers=refusal.headers)


def _refusal(error: Exception) -> RegistryError:  # noqa: PLR0911 - a table, one row a case
    match error:
        case RegistryError():
            return error
        case StoreUnavailableError():
            _log.warning("store.unavailable", reason=str(error))
            return _later(Problem.STORE_FULL if error.full else Problem.STORE_UNAVAILABLE)
        case JournalUnavailableError():
            _log.warning("journal.unavailable", reason=str(error))
            return _later(Problem.JOURNAL_FULL if error.full else Problem.JOURNAL_UNAVAILABLE)
        case UpstreamError():
            _log.warning("upstream.unavailable", reason=str(error))
            return _later(Problem.UPSTREAM_UNAVAILABLE)
        case TenantFullError():
            return RegistryError(Problem.TENANT_FULL, str(error), {"Retry-After": _FULL_FOR})
        case ContentMissingError():
            return RegistryError(Problem.BLOB_UNKNOWN, str(error))
        case web.HTTPNotFound():
            return RegistryError(Problem.NOT_FOUND)
        case web.HTTPMethodNotAllowed():
            return RegistryError(Problem.METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(error.allowed_methods)})
        case web.HTTPException() | web.RequestPayloadError():
            return RegistryError(Problem.BAD_REQUEST, str(error))
        case _:
            _log.error("http.failed", exc_info=error)
            return RegistryError(Problem.INTERNAL)


def _later(problem: Problem) -> RegistryError:
    return RegistryError(problem, headers={"Retry-After": _RETRY_AFTER})
