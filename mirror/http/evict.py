"""`/evict` on the admin socket: what goes of the images here, and what may not."""

from aiohttp import web

from mirror.core.evict import Evictor, Report
from mirror.core.retention import Family, Going, Wish
from mirror.http import query
from mirror.oci.errors import Problem, RegistryError


class EvictHandlers:
    """The handlers of eviction."""

    def __init__(self, evictor: Evictor) -> None:
        self._evictor = evictor

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        return [web.post("/evict", self.evict)]

    async def evict(self, request: web.Request) -> web.Response:
        """Apply the rules of retention now, and let go `bytes` or `all` beyond them; with `dry_run` only say what."""
        wanted = query.number(request, "bytes")
        if wanted is None and "bytes" in request.query:
            raise RegistryError(Problem.BAD_REQUEST, "bytes=<number> has at most 18 digits")
        wish = Wish(wanted or 0, everything=_is_set(request, "all"))
        report = await self._evictor.evict(wish, dry_run=_is_set(request, "dry_run"))
        return web.json_response(_render(report))


def _is_set(request: web.Request, name: str) -> bool:
    return request.query.get(name) in {"1", "true"}


def _render(report: Report) -> dict[str, object]:
    return {
        "evicted": [_render_going(going) for going in report.gone],
        "kept": [_render_kept(family) for family in report.pinned],
        "bytes": sum(going.bytes for going in report.gone),
        "freed": report.freed,
    }


def _render_going(going: Going) -> dict[str, object]:
    return {"images": [image.name for image in going.images], "reason": going.reason, "bytes": going.bytes}


def _render_kept(family: Family) -> dict[str, object]:
    return {"image": family.root.name, "reasons": sorted(family.pins)}
