"""A process that may die between any two of its steps, and a store that may collect garbage there.

A step is what reaches beyond the process: a call to containerd, or a transaction of the journal. All that it does
between two of them is lost with it anyway.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

from mirror.core.concurrency import SharedLock
from mirror.core.drain import Gate
from mirror.core.leases import JobLeases
from mirror.core.progress import Board
from mirror.core.publish import ManifestPush
from mirror.core.push import BlobPush, UploadLimits
from mirror.core.reconcile.deep import DeepCheck, Hasher
from mirror.core.reconcile.mend import Mender
from mirror.core.reconcile.rounds import Reconciler
from mirror.core.reconcile.survey import Stores, Surveyor
from mirror.core.remove import Removal
from mirror.core.replication.restore import Restorer
from mirror.core.signal import Signal
from mirror.core.unpack import Unpacker
from mirror.journal.db import Database, Session
from mirror.journal.grants import GrantsTable
from mirror.journal.jobs import JobsTable
from mirror.journal.uploads import UploadsTable
from mirror.oci.manifest import Platform
from mirror.oci.names import Digest
from mirror.runtime.clock import SystemClock
from tests.contract.pushes import REPOSITORY, unlimited
from tests.double.connection import Connection
from tests.double.content import ContentDouble
from tests.double.garbage import collect
from tests.double.leases import LeasesDouble
from tests.double.records import EventsDouble, ImagesDouble
from tests.double.snapshots import SnapshotsDouble
from tests.double.state import Store
from tests.rig.images import ARCHITECTURE
from tests.unit.clock import ManualClock

MAX_AGE = 3600.0
"""How long an upload lives that nobody goes on with, in seconds."""

_Result = TypeVar("_Result")


class KilledError(BaseException):
    """The process is dead, and so is whatever it still tries to do; no rule may catch this as an error of others."""


class Fate:
    """What happens at each step: a garbage collection at every `pace`-th (0: never), and death at the `death`-th."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pace = 0
        self._death: int | None = None
        self._steps = 0
        self.is_dead = False

    def decide(self, pace: int, death: int | None) -> None:
        """What is to come from now on."""
        self._pace, self._death, self._steps = pace, death, 0

    async def moment(self) -> None:
        """One step is about to be made; others may come before it."""
        await asyncio.sleep(0)
        self._steps += 1
        self.is_dead = self.is_dead or self._steps == self._death
        if self.is_dead:
            raise KilledError
        if self._pace and not self._steps % self._pace:
            collect(self._store)


class MortalDatabase(Database):
    """A real journal, to which the dead write nothing any more.

    Its transactions are not left to their thread, whose speed would make each run another one.
    """

    def __init__(self, path: Path, fate: Fate) -> None:
        super().__init__(path)
        self._fate = fate

    async def transact(self, work: Callable[[Session], _Result]) -> _Result:
        """See `Database.transact`."""
        await self._fate.moment()
        return self._transact(work)


class Life:
    """One process: the use cases on the double and on a journal. Enter it to be born, leave it to be gone."""

    def __init__(self, store: Store, journal: Path, clock: ManualClock, new_id: Callable[[], str]) -> None:
        self.fate = Fate(store)
        self.clock = clock
        self._new_id = new_id
        self._gate, self._changed, self._pushes = Gate(), Signal(), SharedLock()
        self.connection = Connection(store, self.fate.moment)
        self.content = ContentDouble(self.connection, clock)
        self.images = ImagesDouble(self.connection)
        self.leases = LeasesDouble(self.connection, clock)
        self.snapshots = SnapshotsDouble(self.connection)
        self.admission = unlimited(journal)
        self.database = MortalDatabase(journal, self.fate)
        self.grants = GrantsTable(self.database)
        self.jobs = JobsTable(self.database)
        self.pushing = self._pushing()
        self.publishing = self._publishing()
        self.removal = self._removal()
        self.unpacker = Unpacker(
            content=self.content,
            grants=self.grants,
            snapshots=self.snapshots,
            platforms=[Platform("linux", ARCHITECTURE)],
            board=Board(),
        )
        in_flight = self.publishing.in_flight
        self.job_leases = JobLeases(
            jobs=self.jobs, leases=self.leases, clock=clock, in_flight=in_flight, changed=self._changed
        )
        self.reconciler = self._reconciler()

    def _pushing(self) -> BlobPush:
        return BlobPush(
            content=self.content,
            leases=self.leases,
            uploads=UploadsTable(self.database),
            grants=self.grants,
            clock=self.clock,
            new_id=self._new_id,
            max_age=MAX_AGE,
            arrived=lambda *_: None,
            gate=self._gate,
            admission=self.admission,
            limits=UploadLimits(),
        )

    def _publishing(self) -> ManifestPush:
        return ManifestPush(
            content=self.content,
            images=self.images,
            leases=self.leases,
            grants=self.grants,
            jobs=self.jobs,
            clock=self.clock,
            new_id=self._new_id,
            changed=self._changed,
            gate=self._gate,
            admission=self.admission,
            evictions=self._pushes,
        )

    def _removal(self) -> Removal:
        return Removal(
            content=self.content,
            images=self.images,
            leases=self.leases,
            grants=self.grants,
            jobs=self.jobs,
            clock=self.clock,
            changed=self._changed,
            followed=frozenset(),
            pushes=self._pushes,
        )

    def _reconciler(self) -> Reconciler:
        uploads = UploadsTable(self.database)
        stores = Stores(self.content, self.images, self.leases, self.snapshots, self.grants, self.jobs, uploads)
        surveyor = Surveyor(stores, self._in_flight, frozenset({REPOSITORY.registry}), SystemClock(), grace=0.0)
        hasher = Hasher(self.content)
        restorer = Restorer(
            content=self.content,
            leases=self.leases,
            grants=self.grants,
            upstreams={},
            replacement=Unreachable(),
            new_id=self._new_id,
        )
        mender = Mender(
            stores=stores,
            surveyor=surveyor,
            manifest_push=self.publishing,
            restorer=restorer,
            hasher=hasher,
            changed=self._changed,
        )
        deep = DeepCheck(surveyor=surveyor, hasher=hasher, stores=stores, clock=self.clock)
        events = EventsDouble(self.connection)
        return Reconciler(
            surveyor=surveyor, mender=mender, deep=deep, grants=self.grants, events=events, clock=self.clock
        )

    def _in_flight(self) -> frozenset[str]:
        return self.pushing.in_flight() | self.publishing.in_flight()


class Unreachable:
    """What no life comes to: without an upstream nothing is fetched to replace anything."""

    async def replace(self, digest: Digest, data: AsyncIterator[bytes], lease: str) -> None:
        """See `Replacement.replace`."""
        raise AssertionError(f"{digest} is replaced under {lease} by {data}")
