"""Which images are here, how they stand and why they stay: for people to look at."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mirror.core.concurrency import in_order
from mirror.core.inventory import Inventory
from mirror.core.ports import Clock, Image, Jobs
from mirror.core.progress import Board
from mirror.core.retention import Held, Pin, Rules, families
from mirror.core.status import Status, status_of
from mirror.oci.names import Reference

# What is asked of the journal together is one transaction.
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Listed:
    """An image here. `pins` are those of all that it belongs to; `status` is None when it was not pushed like that."""

    held: Held
    pins: frozenset[Pin]
    status: Status | None


@dataclass(frozen=True, slots=True)
class Page:
    """Some images in the order of their names; there may be more behind the name `last`, if that is not None."""

    images: list[Listed]
    last: str | None


class Listing:
    """The use case of `registry-mirror images`; `default` is the registry that need not be named."""

    def __init__(
        self, *, inventory: Inventory, jobs: Jobs, board: Board, rules: Rules, clock: Clock, default: str
    ) -> None:
        self._inventory = inventory
        self._jobs = jobs
        self._board = board
        self.rules = rules
        self._clock = clock
        self._prefix = f"{default}/"

    async def page(self, patterns: Sequence[str], after: str, limit: int) -> Page:
        """At most `limit` images behind the name `after` that fit one of the patterns, all if there are none.

        A pattern is one of a shell (`*`, `?`, `[…]`), for a whole name or that of a repository.
        Raises StoreUnavailableError, JournalUnavailableError.
        """
        names: list[str] = []

        def choose(records: list[Image]) -> list[Image]:
            """What is wanted, with all else of its repositories: that may be why it stays."""
            behind = sorted(record.name for record in records if record.name > after)
            names.extend(name for name in behind if self._fits(name, patterns))
            repositories = {_repository(name) for name in names[:limit]}
            return [record for record in records if _repository(record.name) in repositories]

        stock = await self._inventory.look(choose)
        wanted = set(names[:limit])
        pins = await asyncio.to_thread(self._pins, stock.images)

        async def list_one(held: Held) -> Listed:
            return Listed(held, pins[held.name], await self._status(held))

        chosen = sorted((image for image in stock.images if image.name in wanted), key=lambda image: image.name)
        images = [listed async for listed in in_order(list_one, chosen, _AT_ONCE)]
        return Page(images, names[limit - 1] if len(names) > limit else None)

    def _fits(self, name: str, patterns: Sequence[str]) -> bool:
        whole = (name, _repository(name))
        texts = {*whole, *(text.removeprefix(self._prefix) for text in whole)}
        return not patterns or any(fnmatchcase(text, pattern) for text in texts for pattern in patterns)

    def _pins(self, images: Sequence[Held]) -> dict[str, frozenset[Pin]]:
        """By the names of images why they stay: what belongs to several stays with each of them."""
        pins: dict[str, frozenset[Pin]] = {}
        for family in families(images, self.rules, self._clock.now()):
            for member in family.members:
                pins[member.name] = pins.get(member.name, frozenset()) | family.pins
        return pins

    async def _status(self, held: Held) -> Status | None:
        """Where the push of an image stands; None when what its name means now was not pushed like that."""
        reference = Reference(held.tag, None if held.tag else held.digest)
        status = status_of(await self._jobs.find(held.repository, reference), self._board)
        return status if status and status.job.digest == held.digest else None


def _repository(name: str) -> str:
    """The part of an image's name before its tag or digest."""
    path, _, last = name.partition("@")[0].rpartition("/")
    return f"{path}/{last.partition(':')[0]}"
