"""When journal and containerd are compared: at the start, after what others do in containerd, and every few minutes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass

import structlog

from mirror.core.errors import StoreUnavailableError
from mirror.core.outlast import outlast
from mirror.core.ports import Clock, Events, Grants
from mirror.core.reconcile import compare
from mirror.core.reconcile.compare import Needed
from mirror.core.reconcile.deep import DeepCheck, Hashed
from mirror.core.reconcile.findings import Finding
from mirror.core.reconcile.mend import Mender, UnmendedError
from mirror.core.reconcile.survey import Survey, Surveyor

_log = structlog.get_logger(__name__)
_AGAIN_AFTER = 1.0
_EVERY = 300.0
_AT_MOST_EVERY = 10.0
# Of the time, however often things change in a store that is large.
_SHARE = 0.1
# What changes once in containerd often changes several times; and a list that is made first sees it all.
_GATHER = 1.0
# A lease that could not be ended, because containerd was away just then, is an orphan until the next look.
_LEASES_EVERY = 30.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """A finding, and what became of it: mended or not, and why not (empty when that was not tried)."""

    finding: Finding
    is_mended: bool = False
    reason: str = ""


Tell = Callable[[Verdict | Hashed], Awaitable[None]]


class Reconciler:
    """Compares and mends, one round at a time."""

    def __init__(
        self,
        *,
        surveyor: Surveyor,
        mender: Mender,
        deep: DeepCheck,
        grants: Grants,
        events: Events,
        clock: Clock,
    ) -> None:
        self._surveyor = surveyor
        self._mender = mender
        self._deep = deep
        self._grants = grants
        self._events = events
        self._clock = clock
        self._alone = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._told: set[tuple[str, ...]] = set()

    async def watch(self) -> None:
        """Mend as soon as containerd answers, and from then on, for as long as the daemon runs."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._rounds())

    async def check(self, tell: Tell, *, repair: bool, deep: bool = False) -> None:
        """Compare everything, and `tell` each finding; with `repair` mend it, with `deep` read all content too.

        Raises:
            StoreUnavailableError, JournalUnavailableError: one of the two is away.
        """
        async with self._alone:
            survey = await self._surveyor.whole()
            async for finding in self._findings(survey, repair=repair):
                await tell(await self._treat(finding, repair=repair))
            if deep:
                async for damage in self._deep.damage(survey, tell):
                    await tell(await self._treat(damage, repair=repair))

    async def mend_leases(self) -> None:
        """The part of a round that is cheap: the leases of jobs. Raises as `check`."""
        async with self._alone:
            survey = await self._surveyor.leases()
            for finding in _of_leases(survey):
                _report(await self._treat(finding, repair=True))

    async def _follow(self) -> None:
        """Have a round after each change that others may have made, and after each time that nobody listened."""
        while True:
            try:
                async for _ in self._events.follow():
                    self._wanted.set()
            except StoreUnavailableError:
                await self._clock.sleep(_AGAIN_AFTER)
            self._wanted.set()

    async def _rounds(self) -> None:
        while True:
            self._wanted.clear()
            begun = self._clock.monotonic()
            await self._persist(self._round)
            took = self._clock.monotonic() - begun
            await self._clock.sleep(min(max(_AT_MOST_EVERY, took / _SHARE), _EVERY))
            await self._pause()

    async def _round(self) -> None:
        """Compare and mend; the log tells what the round before did not tell."""
        seen: set[tuple[str, ...]] = set()

        async def tell(verdict: Verdict | Hashed) -> None:
            if isinstance(verdict, Verdict):
                seen.add(words := (verdict.finding.kind, verdict.finding.subject, verdict.reason))
                if words not in self._told:
                    _report(verdict)

        await self.check(tell, repair=True)
        self._told = seen

    async def _pause(self) -> None:
        """Wait until a round is wanted, or it is time for one; look at the leases now and then."""
        end = self._clock.monotonic() + _EVERY
        while not self._wanted.is_set() and (left := end - self._clock.monotonic()) > 0:
            await self._clock.wait(self._wanted, min(left, _LEASES_EVERY))
            if not self._wanted.is_set():
                await self._persist(self.mend_leases)
        if self._wanted.is_set():
            await self._clock.sleep(_GATHER)

    async def _persist(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it as soon as journal and containerd let us; the log says once that containerd does not."""
        is_told = False
        while True:
            try:
                return await outlast(self._clock, work)
            except StoreUnavailableError as error:
                if not is_told:
                    _log.warning("reconcile.postponed", reason=str(error))
                is_told = True
                await self._clock.sleep(_AGAIN_AFTER)

    async def _findings(self, survey: Survey, *, repair: bool) -> AsyncIterator[Finding]:
        for finding in _of_leases(survey):
            yield finding
        needed = Needed(anything={job.repository for job in survey.jobs if job.id > survey.newest})
        async for need in self._surveyor.needs(survey):
            needed.add(need)
            for miss in compare.misses(need, survey.before.leases, survey.content):
                yield miss
        async for tag in self._surveyor.tags(survey):
            if unknown := compare.unknown_tag(tag, survey.content, survey.owners, survey.newest):
                yield unknown
        async for stale in self._of_grants(survey, needed, repair=repair):
            yield stale

    async def _of_grants(self, survey: Survey, needed: Needed, *, repair: bool) -> AsyncIterator[Finding]:
        """Stale grants; those that are revoked and of no use any more are no fault, and forgotten by the way."""
        async for page in self._surveyor.grants(survey):
            for stale in compare.stale_grants(page, survey.content, needed):
                yield stale
            if repair and (spent := compare.spent_grants(page, needed)):
                await self._grants.forget(spent, survey.newest)

    async def _treat(self, finding: Finding, *, repair: bool) -> Verdict:
        if not repair:
            return Verdict(finding)
        try:
            await self._mender.mend(finding)
        except UnmendedError as error:
            return Verdict(finding, reason=str(error))
        return Verdict(finding, is_mended=True)


def _of_leases(survey: Survey) -> Iterable[Finding]:
    yield from compare.orphans(survey.before, survey.after, survey.owners)
    yield from compare.missing_leases(survey.jobs, survey.before.leases, survey.newest)


def _report(verdict: Verdict) -> None:
    """What was found in the background, for the log."""
    finding = verdict.finding
    _log.warning(
        "reconcile.finding",
        finding=finding.kind,
        subject=finding.subject,
        detail=finding.detail,
        mended=verdict.is_mended,
        reason=verdict.reason,
    )
