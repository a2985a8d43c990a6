"""What makes variants, wired together."""

from mirror import config
from mirror.app.disk import Space
from mirror.app.rooms import Rooms
from mirror.app.workers import Wiring, make_worker
from mirror.core.jobs import Backoff, Kind
from mirror.core.progress import Board
from mirror.core.publish import ManifestPush
from mirror.core.push import BlobPush
from mirror.core.variants.convert import Converter
from mirror.core.variants.layers import LayerConverter
from mirror.core.variants.modes import Mode, VariantRule, Wish
from mirror.core.variants.originals import Originals
from mirror.core.variants.publish import Publisher
from mirror.core.variants.quiet import Quiet
from mirror.runtime.load import Processors

_BACKOFF = Backoff(first=1.0, longest=300.0)


class Variants:
    """The converter and its worker."""

    def __init__(
        self,
        settings: config.Settings,
        rooms: Rooms,
        space: Space,
        board: Board,
        *,
        blobs: BlobPush,
        manifests: ManifestPush,
    ) -> None:
        layers = LayerConverter(
            content=rooms.content,
            grants=rooms.grants,
            leases=rooms.leases,
            snapshots=rooms.snapshots,
            conversions=rooms.conversions,
            recompressor=rooms.recompressor,
            blobs=blobs,
            clock=rooms.clock,
            tracer=rooms.tracer,
        )
        quiet = Quiet(
            pushes=lambda: blobs.receiving() + len(manifests.in_flight()),
            unpacks=lambda: board.total(Kind.UNPACK).of,
            load=Processors().share,
            most=settings.variants.load,
        )
        originals = Originals(rooms.content, rooms.grants)
        self.converter = Converter(
            images=rooms.images,
            originals=originals,
            blobs=blobs,
            layers=layers,
            publisher=Publisher(rooms.images, originals, manifests),
            capacity=space.capacity,
            board=board,
            clock=rooms.clock,
            quiet=quiet,
            rules=_rules(settings),
        )
        manifests.has_variant = self.converter.is_wanted
        self._rooms = rooms

    def change(self, settings: config.Settings) -> None:
        """Go over to other settings."""
        self.converter.rules = _rules(settings)
        self.converter.quiet.most = settings.variants.load

    async def run(self, wiring: Wiring) -> None:
        """Make variants, for as long as the daemon runs."""
        await self.converter.clear()
        await make_worker(Kind.CONVERT, self.converter.attempt, self._rooms, wiring, backoff=_BACKOFF, at_once=1).run()


def _rules(settings: config.Settings) -> list[VariantRule]:
    return [
        VariantRule(
            rule.repositories,
            None if rule.mode == "off" else Wish(Mode(rule.mode), rule.level, rule.gain / 100),
            rule.registries,
        )
        for rule in settings.variants.rules.values()
    ]
