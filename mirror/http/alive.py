"""`/alive` on the admin socket: whether requests are answered at all, whatever the answers would be."""

from http import HTTPStatus

from aiohttp import web

from mirror.http.middleware import QUIET


async def _alive(request: web.Request) -> web.Response:
    """Answer; the log is not told, as this is asked again and again."""
    request[QUIET] = True
    return web.Response(status=HTTPStatus.NO_CONTENT)


ROUTES = [web.get("/alive", _alive)]
"""Which request goes where."""
