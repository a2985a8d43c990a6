"""`/images` on the admin socket: which images are here."""

from aiohttp import web

from mirror.core.listing import Listed, Listing
from mirror.http import query

_MOST = 1000


class ImageHandlers:
    """The handler of lists of images."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        return [web.get("/images", self.list)]

    async def list(self, request: web.Request) -> web.Response:
        """The images that fit a `match`, behind the name `after`, at most `limit`; behind `last` there are others."""
        patterns, after = request.query.getall("match", []), request.query.get("after", "")
        limit = min(query.number(request, "limit") or _MOST, _MOST)
        page = await self._listing.page(patterns, after, limit)
        return web.json_response({"images": [_render(image) for image in page.images], "last": page.last})


def _render(listed: Listed) -> dict[str, object]:
    held, status = listed.held, listed.status
    return {
        "image": held.name,
        "repository": str(held.repository),
        "tag": held.tag,
        "digest": held.digest,
        "bytes": sum(held.content.values()),
        "used": held.used,
        "job": status.job.id if status else None,
        "phase": status.phase if status else None,
        "unpack": status.unpack.state if status and status.unpack else None,
        "kept": sorted(listed.pins),
    }
