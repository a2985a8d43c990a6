"""What a browser may be made to ask the admin listener for, by pages of others.

On a port of the loopback whatever page a person looks at can send requests here. It cannot read the answers, but it
could press our buttons; and where its own name leads to the loopback (DNS rebinding) it could read them as well.
"""

from ipaddress import ip_address

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from yarl import URL

from mirror.oci.errors import Problem, RegistryError

_OURS = frozenset({"same-origin", "none"})
_SAFE = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})


@web.middleware
async def no_strangers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what came over TCP under another name than that of the loopback, or changes something for another page.

    Raises RegistryError: DENIED.
    """
    if request.transport is not None and isinstance(request.transport.get_extra_info("peername"), tuple):
        _check(request)
    return await handler(request)


def _check(request: web.Request) -> None:
    if not _is_loopback(request.host):
        raise RegistryError(Problem.DENIED, "operators' requests are for the loopback by its own names")
    origin, site = request.headers.get(hdrs.ORIGIN), request.headers.get("Sec-Fetch-Site", "none")
    is_ours = site in _OURS and origin in {None, f"http://{request.host}"}
    if not is_ours and request.method not in _SAFE:
        raise RegistryError(Problem.DENIED, "this came from a page of somebody else")


def _is_loopback(host: str) -> bool:
    """Whether a Host header names this host by an address that leads nowhere else, or by the one name for it."""
    try:
        name = URL(f"http://{host}").host or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
