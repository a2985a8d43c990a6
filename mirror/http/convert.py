"""`/convert` on the admin socket: one long request that makes a variant of an image."""

import asyncio
from collections.abc import Awaitable

from aiohttp import web

from mirror.core.errors import (
    BadLayerError,
    ContentMissingError,
    JournalUnavailableError,
    RecompressionError,
    StoreUnavailableError,
)
from mirror.core.progress import Progress
from mirror.core.registries import Registries
from mirror.core.variants.convert import Converter, Made
from mirror.core.variants.errand import UnwantedError
from mirror.core.variants.modes import Mode, Wish, choose
from mirror.http import query
from mirror.http.events import EventStream, EventStreams
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.names import Repository, split_image

_TELL_EVERY = 0.5
_LEVELS = range(1, 20)
_WHATEVER_IT_GAINS = -1.0
_OTHERWISE = Wish(Mode.TAG_SUFFIX)
_WHY_NOT = (
    UnwantedError,
    BadLayerError,
    ContentMissingError,
    RecompressionError,
    StoreUnavailableError,
    JournalUnavailableError,
    RegistryError,
)


class ConvertHandlers:
    """The handler of conversions by hand."""

    def __init__(self, converter: Converter, registries: Registries) -> None:
        self._converter = converter
        self._registries = registries
        self._streams = EventStreams()

    def routes(self) -> list[web.RouteDef]:
        """Which request goes where."""
        return [web.post("/convert", self.run)]

    async def run(self, request: web.Request) -> web.StreamResponse:
        """Make a variant of `image`, of `level` and by `mode`, or as the settings have it.

        How far it has come is told as `progress` events, and what was made, or why nothing was, as `ending`.
        """
        repository, reference = split_image(
            request.query.get("image", ""), self._registries.names, self._registries.default
        )
        wish, progress = self._wish(request, repository), Progress()
        async with self._streams.open(request) as stream:
            making = self._converter.convert(repository, reference, wish, progress)
            try:
                made = await _telling(stream, making, progress)
            except _WHY_NOT as error:
                await stream.tell("ending", {"reason": str(error)})
            else:
                await stream.tell("ending", _render(made))
        return stream.response

    def _wish(self, request: web.Request, repository: Repository) -> Wish:
        """What is asked for; it is made whatever it gains, as a person wants it."""
        usual = choose(self._converter.rules, repository) or _OTHERWISE
        level = query.number(request, "level") if "level" in request.query else usual.level
        mode = request.query.get("mode", usual.mode)
        if level is None or level not in _LEVELS or mode not in set(Mode):
            modes = "|".join(Mode)
            raise RegistryError(Problem.BAD_REQUEST, f"level is from 1 to 19, and mode is {modes}")
        return Wish(Mode(mode), level, _WHATEVER_IT_GAINS)


async def _telling(stream: EventStream, making: Awaitable[Made], progress: Progress) -> Made:
    """Tell now and then how far it has come; it ends with a reader that is gone."""
    task = asyncio.ensure_future(making)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=_TELL_EVERY)
            await stream.tell("progress", _render_progress(progress))
        return task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])


def _render_progress(progress: Progress) -> dict[str, object]:
    return {
        "layers": {"done": progress.layers_done, "of": progress.layers_of},
        "bytes": {"done": progress.done, "of": progress.of},
    }


def _render(made: Made) -> dict[str, object]:
    return {
        "reason": "",
        "variant": made.image,
        "digest": made.digest,
        "bytes": {"before": made.before, "after": made.after},
    }
