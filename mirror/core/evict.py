"""Eviction: images go that retention names, or whose room is needed, and with them what nothing else holds.

Only what is verified upstream goes, and only here: the upstream keeps it, and the journal that it is there.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from mirror.core.capacity import Capacity
from mirror.core.concurrency import SharedLock
from mirror.core.errors import JournalUnavailableError, StoreUnavailableError
from mirror.core.inventory import Inventory, Stock
from mirror.core.jobs import Outcome, Task
from mirror.core.ports import Clock, Grants, Images, Jobs, Leases, Nobody, Observer, Usage
from mirror.core.retention import Family, Going, Held, Pin, Rules, Wish, families, plan
from mirror.core.seen import Seen
from mirror.core.usage import Uses
from mirror.core.worker import Attempt
from mirror.oci.names import Repository

_log = structlog.get_logger(__name__)
_LOOK_EVERY = 30.0
# Whoever is refused calls at once, and may do so again and again.
_PAUSE = 1.0
# What is replicated, or ends to be used, changes nothing that a look at the newest push would show.
_STOCK_EVERY = 300.0
# Of the time, however often images are pushed to a host that has many.
_SHARE_OF_TIME = 0.1
# Layers take more room unpacked than the sizes that are known say: so not all that is needed is evicted at once.
_AT_ONCE = 4
_SHARE = 20


@dataclass(frozen=True, slots=True)
class Report:
    """What went, or would; which images are pinned, and why; by how many bytes the room on the disk grew."""

    gone: list[Going]
    pinned: list[Family]
    freed: int = 0


class Evictor:
    """The use cases of eviction. `pushes` is shared by manifests that are being acknowledged."""

    def __init__(  # noqa: PLR0913 - its collaborators, each by name
        self,
        *,
        inventory: Inventory,
        images: Images,
        leases: Leases,
        jobs: Jobs,
        grants: Grants,
        usage: Usage,
        seen: Seen,
        capacity: Capacity,
        rules: Rules,
        pushes: SharedLock,
        clock: Clock,
        observer: Observer | None = None,
    ) -> None:
        self._inventory = inventory
        self._images = images
        self._leases = leases
        self._jobs = jobs
        self._grants = grants
        self._usage = usage
        self._seen = seen
        self._uses = Uses(usage, clock)
        self._capacity = capacity
        self.rules = rules
        self._pushes = pushes
        self._clock = clock
        self._observer = observer or Nobody()
        self._one_at_a_time = asyncio.Lock()
        self._wanted = 0
        self._called = asyncio.Event()
        self._looked = -1
        self._earliest = self._latest = 0.0
        self._pinned: list[Family] = []
        self._is_stuck = False

    def want(self, size: int) -> None:
        """So many bytes were refused, as there is no room for them: make it."""
        self._wanted = max(self._wanted, size)
        self._called.set()

    def around(self, attempt: Attempt) -> Attempt:
        """The same work; when it ends for want of room, some is made before it is tried again."""

        async def making_room(task: Task) -> Outcome:
            try:
                return await attempt(task)
            except StoreUnavailableError as error:
                level = self._capacity.tightest() if error.full else None
                if level:  # nothing tells how much it takes: a bit more each time
                    self.want(max(level.spare, 0) + level.total // _SHARE)
                raise

        return making_room

    @property
    def reason(self) -> str | None:
        """Why nothing can be pushed just now, None when it can."""
        shortage = self._capacity.shortage()
        return f"{shortage}; {_stays(self._pinned)}" if shortage and self._pinned else shortage

    async def run(self) -> None:
        """Keep to the rules and make room, for as long as the daemon runs."""
        while True:
            await self._clock.wait(self._called, _LOOK_EVERY)
            self._called.clear()
            try:
                await self._look()
            except (StoreUnavailableError, JournalUnavailableError) as error:
                _log.warning("evict.postponed", reason=str(error))
            await self._clock.sleep(_PAUSE)

    async def _look(self) -> None:
        """Apply the rules after a push, and now and then; make room whenever it is needed."""
        newest, now = await self._jobs.newest(), self._clock.monotonic()
        is_wanted = self.rules.are_set and newest != self._looked
        if now >= self._earliest and (is_wanted or now >= self._latest):
            await self.evict(Wish())
            ended = self._clock.monotonic()
            self._looked = newest
            self._earliest, self._latest = ended + (ended - now) / _SHARE_OF_TIME, now + _STOCK_EVERY
        await self._make_room()

    async def _make_room(self) -> None:
        """Evict until no disk is too full and what was refused would fit, or until nothing more may go."""
        while short := self._short():
            report = await self.evict(Wish(bytes=-(-short // _AT_ONCE)))
            if not report.gone:
                break
        self._wanted = 0
        if short and not self._is_stuck:
            _log.warning("evict.nothing_left", short=short, reason=_stays(self._pinned))
        self._is_stuck = bool(short)

    def _short(self) -> int:
        """How many bytes are to be freed."""
        level = self._capacity.tightest()
        refused = self._wanted - level.spare if level and self._wanted else 0
        return max(self._capacity.excess(), refused, 0)

    async def evict(self, wish: Wish, *, dry_run: bool = False) -> Report:
        """Let go what the rules and the wish name; with `dry_run` only say what that would be.

        Raises:
            StoreUnavailableError, JournalUnavailableError: one of the two is away; what went so far is gone.
        """
        async with self._one_at_a_time:
            stock = await self._inventory.take()
            now = self._clock.now()
            # On a thread: of a hundred thousand images it takes seconds.
            found, going = await asyncio.to_thread(self._plan, stock, now, wish)
            self._pinned = [family for family in found if family.pins]
            if dry_run:
                return Report(going, self._pinned)
            await self._note_uses(stock.images)
            before = self._spare()
            gone = await self._let_all_go(going, stock)
            if gone:
                await self._leases.collect()
            report = Report(gone, self._pinned, max(self._spare() - before, 0))
            self._observer.evicted(sum(len(each.images) for each in gone), report.freed)
            return report

    def _plan(self, stock: Stock, now: float, wish: Wish) -> tuple[list[Family], list[Going]]:
        found = families(stock.images, self.rules, now)
        return found, plan(found, self.rules, now, wish)

    async def _note_uses(self, images: Iterable[Held]) -> None:
        for image in images:
            if Pin.IN_USE in image.pins:
                await self._uses.note(image.repository, image.digest)

    def _spare(self) -> int:
        level = self._capacity.tightest()
        return level.spare if level else 0

    async def _let_all_go(self, going: Iterable[Going], stock: Stock) -> list[Going]:
        """What went. Once one stays, so do others of its repository: what they leave was reckoned without it."""
        gone: list[Going] = []
        stale = set[Repository]()
        for one in going:
            if one.repository not in stale and await self._let_go(one, stock):
                gone.append(one)
            else:
                stale.add(one.repository)
        return gone

    async def _let_go(self, going: Going, stock: Stock) -> bool:
        """Remove image records, then what their repository has no need of; False when it is no longer as it was."""
        async with self._pushes.alone():
            if not await self._is_as_it_was(going, stock):
                return False
            for image in going.images:
                await self._images.delete(image.name)
                _log.info("image.evicted", image=image.name, digest=image.digest, reason=going.reason)
            unneeded = [digest for digest in going.unneeded if not self._seen.lately(going.repository, digest)]
            await self._usage.drop(going.repository, unneeded)
        return True

    async def _is_as_it_was(self, going: Going, stock: Stock) -> bool:
        """Whether nothing was pushed to the repository, and nobody moved the records, since stock was taken."""
        if await self._usage.newest(going.repository) != stock.newest.get(going.repository, 0):
            return False
        for image in going.images:
            record = await self._images.get(image.name)
            if record and record.target.digest != image.digest:
                return False
        return True


def _stays(pinned: Iterable[Family]) -> str:
    """Why images stay, in numbers."""
    pins = Counter(pin for family in pinned for pin in family.pins)
    return (
        "; ".join(f"{count} images stay: {pin}" for pin, count in sorted(pins.items())) or "there is nothing to evict"
    )
