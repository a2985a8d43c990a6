"""Holding what builders were told is here, on a real containerd."""

import asyncio
import uuid
from datetime import datetime
from pathlib import Path

import pytest

from mirror.containerd.channel import Channel
from mirror.containerd.leases import LeaseManager
from mirror.core.errors import StoreUnavailableError
from mirror.core.ports import Content, Leases
from mirror.core.seen import SEEN_LEASES, Seen
from mirror.oci.names import Repository
from mirror.runtime.clock import SystemClock
from tests.contract.store import fresh, lease_labels, store
from tests.rig.containerd import Containerd
from tests.unit.clock import ManualClock

REPOSITORY = Repository("registry.example.com", "team/app")


class Rig:
    """What holds, and the leases that it made."""

    def __init__(self, leases: Leases, clock: ManualClock) -> None:
        self.made: list[str] = []
        self.seen = Seen(leases=leases, clock=clock, new_id=self._new_id)

    def _new_id(self) -> str:
        self.made.append(f"{SEEN_LEASES}{uuid.uuid4().hex}")
        return self.made[-1].removeprefix(SEEN_LEASES)


@pytest.fixture
def rig(leases: Leases, clock: ManualClock) -> Rig:
    return Rig(leases, clock)


async def test_what_was_seen_stays(
    rig: Rig, containerd: Containerd, content: Content, leases: Leases, lease: str
) -> None:
    """Nothing else holds it any more, and it is not collected."""
    digest = await store(content, fresh()[0], lease)
    await rig.seen.hold(REPOSITORY, digest)
    await leases.delete(lease)
    containerd.collect_garbage()
    assert digest in containerd.contents()


async def test_it_ends_by_itself(rig: Rig, channel: Channel) -> None:
    """The lease says so itself: half an hour from now, in containerd's time."""
    await rig.seen.hold(REPOSITORY, fresh()[1])
    ends = (await lease_labels(channel, rig.made[0]))["containerd.io/gc.expire"]
    assert datetime.fromisoformat(ends).timestamp() == pytest.approx(SystemClock().now() + 1800, abs=60)


async def test_who_was_told(rig: Rig, clock: ManualClock) -> None:
    """Those of one repository, in this period and the one before, for as long as its lease lasts."""
    first, second = fresh()[1], fresh()[1]
    await rig.seen.hold(REPOSITORY, first)
    clock.advance(600)
    await rig.seen.hold(REPOSITORY, second)
    assert [rig.seen.lately(REPOSITORY, digest) for digest in (first, second, fresh()[1])] == [True, True, False]
    assert not rig.seen.lately(Repository(REPOSITORY.registry, "team/other"), first)
    clock.advance(1200)
    assert [rig.seen.lately(REPOSITORY, digest) for digest in (first, second)] == [False, True]


async def test_one_lease_for_ten_minutes(rig: Rig, leases: Leases, clock: ManualClock) -> None:
    """All that is seen in that time shares a lease; then the next one is made, which holds what is seen again."""
    first, second = fresh()[1], fresh()[1]
    await rig.seen.hold(REPOSITORY, first)
    clock.advance(599)
    await rig.seen.hold(REPOSITORY, second)
    assert [await leases.held(lease) for lease in rig.made] == [{first, second}]
    clock.advance(1)
    await rig.seen.hold(REPOSITORY, first)
    assert [await leases.held(lease) for lease in rig.made] == [{first, second}, {first}]


@pytest.mark.parametrize("seconds", [86400.0, -86400.0])
async def test_a_clock_that_is_set(rig: Rig, leases: Leases, clock: ManualClock, seconds: float) -> None:
    """The lease may have run out by that, or last for a day: another is made."""
    digest = fresh()[1]
    await rig.seen.hold(REPOSITORY, digest)
    clock.jump(seconds)
    await rig.seen.hold(REPOSITORY, digest)
    assert [await leases.held(lease) for lease in rig.made] == [{digest}, {digest}]


async def test_many_at_once(rig: Rig, leases: Leases) -> None:
    """They share one lease, whoever comes first."""
    digests = {fresh()[1] for _ in range(20)}
    await asyncio.gather(*(rig.seen.hold(REPOSITORY, digest) for digest in digests))
    assert [await leases.held(lease) for lease in rig.made] == [digests]


async def test_containerd_is_told_once(rig: Rig, leases: Leases) -> None:
    """Of content that is in the lease already it is not told again, so that asking costs it nothing."""
    digest = fresh()[1]
    await rig.seen.hold(REPOSITORY, digest)
    await leases.delete(rig.made[0])
    await rig.seen.hold(REPOSITORY, digest)
    assert len(rig.made) == 1


async def test_a_lease_that_somebody_removed(rig: Rig, leases: Leases) -> None:
    """The next content that is seen gets another one, and so does from then on what was in the first."""
    first, second = fresh()[1], fresh()[1]
    await rig.seen.hold(REPOSITORY, first)
    await leases.delete(rig.made[0])
    for digest in (second, first):
        await rig.seen.hold(REPOSITORY, digest)
    assert [await leases.held(lease) for lease in rig.made] == [set(), {first, second}]


async def test_without_containerd(directory: Path, clock: ManualClock) -> None:
    """Nothing can be promised then."""
    channel = Channel(directory / "nothing.sock", Containerd.namespace)
    with pytest.raises(StoreUnavailableError):
        await Rig(LeaseManager(channel, clock), clock).seen.hold(REPOSITORY, fresh()[1])
    await channel.close()
