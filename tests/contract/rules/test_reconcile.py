"""Mending what a crash left between the journal and containerd, on both of them."""

import asyncio
import secrets

import pytest

from mirror.containerd.channel import Channel
from mirror.core.jobs import ON_PUSH, Outcome, State
from mirror.core.ports import Jobs, Leases
from mirror.core.publish import JOB_LEASES
from mirror.core.reconcile import Reconciler
from tests.contract.pushes import push
from tests.contract.store import held
from tests.unit.clock import EPOCH, ManualClock


class Rig:
    """A reconciler, and the pushes it is told of."""

    def __init__(self, jobs: Jobs, leases: Leases, clock: ManualClock) -> None:
        self.in_flight: frozenset[str] = frozenset()
        self.reconciler = Reconciler(leases=leases, jobs=jobs, in_flight=lambda: self.in_flight, clock=clock)


@pytest.fixture
def rig(jobs: Jobs, leases: Leases, clock: ManualClock) -> Rig:
    return Rig(jobs, leases, clock)


def fresh_lease() -> str:
    """A job lease that no job of this journal has."""
    return JOB_LEASES + secrets.token_hex(8)


async def test_a_lease_without_a_job_ends(rig: Rig, leases: Leases) -> None:
    """Left by a push that died before its job; those of uploads and of others are not ours to end."""
    orphan, upload = fresh_lease(), f"registry-mirror/upload/{secrets.token_hex(8)}"
    for lease in (orphan, upload):
        await leases.create(lease)
    await rig.reconciler.mend()
    there = await leases.list("")
    assert orphan not in there
    assert upload in there


async def test_a_push_on_its_way_keeps_its_lease(rig: Rig, leases: Leases) -> None:
    """It has a lease and no job yet, because its manifest is being stored right now."""
    lease = fresh_lease()
    await leases.create(lease)
    rig.in_flight = frozenset({lease})
    await rig.reconciler.mend()
    assert lease in await leases.list(JOB_LEASES)


async def test_a_job_without_a_lease_gets_it_back(rig: Rig, jobs: Jobs, leases: Leases, channel: Channel) -> None:
    """Somebody deleted it: the manifest is held again, and what it refers to with it."""
    job = await jobs.enqueue(push())
    await rig.reconciler.mend()
    assert await leases.list(JOB_LEASES) == [job.lease]
    assert await held(channel, job.lease) == {("content", job.digest)}


async def test_what_is_as_it_should_be_is_left_alone(rig: Rig, jobs: Jobs, leases: Leases, channel: Channel) -> None:
    """A job's lease keeps what it holds, and mending twice changes nothing."""
    new = push()
    await leases.create(new.lease)
    await jobs.enqueue(new)
    for _ in range(2):
        await rig.reconciler.mend()
    assert await leases.list(JOB_LEASES) == [new.lease]
    assert await held(channel, new.lease) == set()


async def test_a_finished_jobs_lease_ends(rig: Rig, jobs: Jobs, leases: Leases) -> None:
    """Killed between the last step of a job and the end of its lease, the next start ends it."""
    new = push()
    await leases.create(new.lease)
    await jobs.enqueue(new)
    for kind in ON_PUSH:
        task = await jobs.claim(kind, EPOCH, 0)
        assert task is not None
        await jobs.settle(task, Outcome(State.DONE))
    await rig.reconciler.mend()
    assert new.lease not in await leases.list(JOB_LEASES)


async def test_it_waits_for_containerd(
    rig: Rig, jobs: Jobs, leases: Leases, channel: Channel, clock: ManualClock
) -> None:
    """While containerd is away it is asked once a second; as soon as it answers, things are mended."""
    job = await jobs.enqueue(push())
    channel.suspend("away")
    running = asyncio.create_task(rig.reconciler.run())
    for _ in range(2):
        await clock.until_asleep(1)
        clock.advance(1)
    await clock.until_asleep(1)
    channel.resume()
    clock.advance(1)
    await running
    assert job.lease in await leases.list(JOB_LEASES)


async def test_an_orphan_made_later(rig: Rig, leases: Leases, clock: ManualClock) -> None:
    """A lease that could not be ended while containerd was away is ended by a later round, without a restart."""
    watch = asyncio.create_task(rig.reconciler.watch())
    await clock.until_asleep(30.0)
    orphan = fresh_lease()
    await leases.create(orphan)
    clock.advance(30.0)
    await clock.until_asleep(30.0)
    assert orphan not in await leases.list(JOB_LEASES)
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
