"""The ledger, rule by rule: pushes and rounds on the real stores, and what a round found."""

import uuid
from pathlib import Path

from mirror.core.concurrency import SharedLock
from mirror.core.drain import Gate
from mirror.core.ports import Events, Images, Snapshots, Uploads
from mirror.core.publish import ManifestPush
from mirror.core.push import BlobPush, UploadLimits
from mirror.core.reconcile.deep import DeepCheck, Hashed, Hasher
from mirror.core.reconcile.mend import Mender
from mirror.core.reconcile.rounds import Reconciler, Verdict
from mirror.core.reconcile.survey import Stores, Surveyor
from mirror.core.signal import Signal
from mirror.runtime.clock import SystemClock
from tests.contract.pushes import unlimited
from tests.contract.rules.way import Way

Found = tuple[str, str, bool]
"""The kind of a finding, its subject, and whether it was mended."""


class Ledger:
    """Pushes, and rounds that know what of them is in flight; a test may put more there."""

    def __init__(
        self,
        way: Way,
        images: Images,
        snapshots: Snapshots,
        uploads: Uploads,
        events: Events,
        changed: Signal,
        journal: Path,
    ) -> None:
        admission = unlimited(journal)
        self.in_flight: frozenset[str] = frozenset()
        self.progress: list[Hashed] = []
        self.restorer = way.restorer()
        self.blob_push = BlobPush(
            content=way.content,
            leases=way.leases,
            uploads=uploads,
            grants=way.grants,
            clock=way.clock,
            new_id=_new_id,
            max_age=3600.0,
            arrived=lambda *_: None,
            gate=Gate(),
            admission=admission,
            limits=UploadLimits(),
        )
        self.manifest_push = ManifestPush(
            content=way.content,
            images=images,
            leases=way.leases,
            grants=way.grants,
            jobs=way.jobs,
            clock=way.clock,
            new_id=_new_id,
            changed=changed,
            gate=Gate(),
            admission=admission,
            evictions=SharedLock(),
        )
        stores = Stores(way.content, images, way.leases, snapshots, way.grants, way.jobs, uploads)
        registries = frozenset({way.repository.registry})
        surveyor = Surveyor(stores, self._all_in_flight, registries, SystemClock(), grace=0.0)
        hasher = Hasher(way.content)
        self.reconciler = Reconciler(
            surveyor=surveyor,
            mender=Mender(
                stores=stores,
                surveyor=surveyor,
                manifest_push=self.manifest_push,
                restorer=self.restorer,
                hasher=hasher,
                changed=changed,
            ),
            deep=DeepCheck(surveyor=surveyor, hasher=hasher, stores=stores, clock=way.clock),
            grants=way.grants,
            events=events,
            clock=way.clock,
        )

    def _all_in_flight(self) -> frozenset[str]:
        pushes = self.blob_push.in_flight() | self.manifest_push.in_flight()
        return pushes | self.restorer.in_flight() | self.in_flight

    async def check(self, *, deep: bool = False) -> list[Found]:
        """What a round finds, and does not mend."""
        return [(found.finding.kind, found.finding.subject, found.is_mended) for found in await self._run(deep=deep)]

    async def repair(self, *, deep: bool = False) -> list[Found]:
        """What a round finds and mends."""
        verdicts = await self._run(repair=True, deep=deep)
        return [(found.finding.kind, found.finding.subject, found.is_mended) for found in verdicts]

    async def reasons(self, *, deep: bool = False) -> list[str]:
        """Why a round does not mend what it finds."""
        return [verdict.reason for verdict in await self._run(repair=True, deep=deep) if not verdict.is_mended]

    async def _run(self, *, repair: bool = False, deep: bool = False) -> list[Verdict]:
        verdicts: list[Verdict] = []

        async def tell(news: Verdict | Hashed) -> None:
            if isinstance(news, Verdict):
                verdicts.append(news)
            else:
                self.progress.append(news)

        await self.reconciler.check(tell, repair=repair, deep=deep)
        return verdicts


def _new_id() -> str:
    return uuid.uuid4().hex
