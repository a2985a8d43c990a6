"""The operators' page: one document, one style sheet and one script, all of them files beside this one."""

from importlib import resources

from aiohttp import hdrs, web

_TYPES = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
_HEADERS = {
    # Nothing but the files here and the daemon's own answers: also what slips into the document could do nothing.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    hdrs.CACHE_CONTROL: "no-cache",
}


class PageHandlers:
    """The handlers of the page's files."""

    def __init__(self) -> None:
        files = resources.files(__package__)
        self._texts = {name: files.joinpath(name).read_text() for name in _TYPES}

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        return [web.get("/", self.page), web.get(r"/{file:page\.(?:css|js)}", self.file)]

    async def page(self, _: web.Request) -> web.Response:
        """The document."""
        return self._answer("page.html")

    async def file(self, request: web.Request) -> web.Response:
        """What it needs."""
        return self._answer(request.match_info["file"])

    def _answer(self, name: str) -> web.Response:
        return web.Response(text=self._texts[name], content_type=_TYPES[name], headers=_HEADERS)
