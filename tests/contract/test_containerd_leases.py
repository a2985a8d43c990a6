"""Leases, on a real containerd and on the double."""

from datetime import datetime

import pytest

from mirror.core.errors import StoreUnavailableError
from mirror.core.ports import Content, Leases
from mirror.runtime.clock import SystemClock
from tests.contract.rooms import Rooms
from tests.contract.store import fresh, store
from tests.contract.witness import Witness


class SetClock(SystemClock):
    """A clock that stands."""

    def __init__(self, now: float) -> None:
        self._now = now

    def now(self) -> float:
        return self._now


async def test_made_and_ended(witness: Witness, leases: Leases, lease: str) -> None:
    """Making one twice and ending one twice are no errors."""
    await leases.create(lease)
    assert lease in await witness.leases()
    await leases.delete(lease)
    assert lease not in await witness.leases()
    await leases.delete(lease)


async def test_one_that_ends_by_itself(witness: Witness, rooms: Rooms, lease: str) -> None:
    """Its label says when, in a form that every RFC 3339 reader agrees on."""
    leases = rooms.leases(SetClock(4_000_000_000.9))
    await leases.create(f"{lease}/soon", seconds=3600)
    labels = await witness.lease_labels(f"{lease}/soon")
    assert labels == {"containerd.io/gc.expire": "2096-10-02T08:06:40Z"}
    assert datetime.fromisoformat(labels["containerd.io/gc.expire"]).timestamp() == 4_000_003_600


async def test_one_without_end(witness: Witness, lease: str) -> None:
    """It has no such label."""
    assert await witness.lease_labels(lease) == {}


async def test_an_expired_one_holds_nothing(witness: Witness, rooms: Rooms, content: Content, lease: str) -> None:
    """Containerd reads the label as we write it: it collects such a lease and what it held."""
    digest = await store(content, fresh()[0], lease)
    await witness.collect_garbage()  # what the tests before have deleted, so that nobody collects in the next two lines
    expired = rooms.leases(SetClock(SystemClock().now() - 7200))
    await expired.create(f"{lease}/expired", seconds=3600)
    await expired.hold(f"{lease}/expired", digest)
    await expired.delete(lease)
    await witness.collect_garbage()
    assert f"{lease}/expired" not in await witness.leases()
    assert digest not in await witness.contents()


async def test_held_before_it_exists(witness: Witness, content: Content, leases: Leases, lease: str) -> None:
    """Content may be held first and come later; the hold alone keeps it then."""
    data, digest = fresh()
    await leases.hold(lease, digest)
    assert await witness.held(lease) == {("content", digest)}
    await leases.create(f"{lease}/upload")
    await store(content, data, f"{lease}/upload")
    await leases.delete(f"{lease}/upload")
    await witness.collect_garbage()
    assert digest in await witness.contents()


async def test_a_lease_that_is_gone_cannot_hold(leases: Leases, lease: str) -> None:
    """Holding with a lease that somebody deleted is an error that names it, and makes no new one."""
    await leases.delete(lease)
    with pytest.raises(StoreUnavailableError, match=lease):
        await leases.hold(lease, fresh()[1])
    assert lease not in await leases.list("")


async def test_list(leases: Leases, lease: str) -> None:
    """Only those with the prefix, and all of them."""
    await leases.create(f"{lease}/a")
    await leases.create(f"{lease}/b")
    assert sorted(await leases.list(f"{lease}/")) == [f"{lease}/a", f"{lease}/b"]


async def test_what_one_holds(content: Content, leases: Leases, lease: str) -> None:
    """The content that it names, whether it is there or not; a lease that does not exist holds nothing."""
    stored, foretold = await store(content, fresh()[0], lease), fresh()[1]
    await leases.hold(lease, foretold)
    assert await leases.held(lease) == {stored, foretold}
    assert await leases.held(f"{lease}/none") == set()


async def test_collect(witness: Witness, content: Content, leases: Leases, lease: str) -> None:
    """What nothing holds is gone when the call returns, and the lease that asks for it too."""
    kept, dropped = await store(content, fresh()[0], lease), fresh()
    await leases.create(f"{lease}/other")
    await store(content, dropped[0], f"{lease}/other")
    await leases.delete(f"{lease}/other")
    await leases.collect()
    assert await content.size(dropped[1]) is None
    assert await content.size(kept) == 1000
    assert not [one for one in await witness.leases() if one.startswith("registry-mirror/collect/")]
