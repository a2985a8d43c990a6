"""`/check` on the admin socket: one long request that compares the journal with containerd."""

from dataclasses import asdict

from aiohttp import web

from mirror.core.errors import JournalUnavailableError, StoreUnavailableError
from mirror.core.reconcile.deep import Hashed
from mirror.core.reconcile.rounds import Reconciler, Verdict
from mirror.http.events import EventStreams


class CheckHandlers:
    """The handler of checks."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler
        self._streams = EventStreams()

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        return [web.post("/check", self.run)]

    async def run(self, request: web.Request) -> web.StreamResponse:
        """Tell each finding as a `finding` event, and how it ended; `repair` mends them, `deep` reads all content."""
        repair, deep = "repair" in request.query, "deep" in request.query
        async with self._streams.open(request) as stream:

            async def tell(news: Verdict | Hashed) -> None:
                if isinstance(news, Verdict):
                    await stream.tell("finding", _render(news))
                else:
                    await stream.tell("progress", asdict(news))

            try:
                await self._reconciler.check(tell, repair=repair, deep=deep)
            except (StoreUnavailableError, JournalUnavailableError) as error:
                await stream.tell("ending", {"reason": str(error)})
            else:
                await stream.tell("ending", {"reason": ""})
        return stream.response


def _render(verdict: Verdict) -> dict[str, object]:
    finding = verdict.finding
    return {
        "kind": finding.kind,
        "subject": finding.subject,
        "detail": finding.detail,
        "mended": verdict.is_mended,
        "reason": verdict.reason,
    }
