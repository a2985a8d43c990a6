"""Which images are listed, and why they stay, on a real journal and with real image records."""

from collections.abc import Iterator

import pytest

from mirror.containerd.channel import Channel
from mirror.containerd.containers import ContainerRecords
from mirror.core.inventory import Inventory
from mirror.core.jobs import Kind, Outcome, State
from mirror.core.listing import Listing, Page
from mirror.core.ports import Images, Snapshots
from mirror.core.progress import Board
from mirror.core.retention import Pin, Rules
from mirror.core.status import Phase
from mirror.journal.db import Database
from mirror.journal.usage import UsageTable
from tests.contract.rules.way import Way, descriptor, image
from tests.rig.containerd import Containerd

DONE = Outcome(State.DONE)


@pytest.fixture
def listing(way: Way, channel: Channel, images: Images, snapshots: Snapshots, database: Database) -> Listing:
    inventory = Inventory(
        content=way.content,
        images=images,
        snapshots=snapshots,
        containers=ContainerRecords(channel, Containerd.snapshotter),
        grants=way.grants,
        usage=UsageTable(database),
        registries=frozenset({way.repository.registry}),
    )
    registry = way.repository.registry
    return Listing(inventory=inventory, jobs=way.jobs, board=Board(), rules=Rules(), clock=way.clock, default=registry)


@pytest.fixture(autouse=True)
def nothing_left(containerd: Containerd) -> Iterator[None]:
    """Images of an earlier test are none of this one's: its journal knows nothing of them."""
    yield
    for name in containerd.images():
        containerd.ctr("images", "rm", name)


async def _push(way: Way, images: Images, tag: str, *done: Kind) -> bytes:
    """An image of its own, of which so much is done."""
    raw = image(await way.blob())
    task = await way.push(raw, tag=tag)
    for kind in done:
        await way.jobs.settle(await way.task(task.job, kind), DONE)
    await images.point(task.job.image, descriptor(raw))
    return raw


def _tags(page: Page) -> list[str | None]:
    return [listed.held.tag for listed in page.images]


async def test_what_belongs_to_an_image_keeps_it(way: Way, images: Images, listing: Listing) -> None:
    """Its signature is not upstream yet, so it stays, whether or not the signature is listed with it."""
    raw = await _push(way, images, "v1", Kind.REPLICATE, Kind.UNPACK)
    await _push(way, images, "v2", Kind.REPLICATE, Kind.UNPACK)
    await _push(way, images, f"{descriptor(raw).digest.replace(':', '-')}.sig", Kind.UNPACK)
    for patterns in ([f"*{way.repository.path}"], ["*:v?"]):
        page = await listing.page(patterns, "", 10)
        pins = {listed.held.tag: listed.pins for listed in page.images}
        assert (pins["v1"], pins["v2"]) == (frozenset({Pin.NOT_UPSTREAM}), frozenset[Pin]())


async def test_a_tag_that_others_moved(way: Way, images: Images, listing: Listing) -> None:
    """What it means now was never pushed like that: of the push before it nothing is told."""
    await _push(way, images, "v1", Kind.REPLICATE)
    other = await _push(way, images, "v2", Kind.REPLICATE)
    await images.point(f"{way.repository}:v1", descriptor(other))
    first, second = (await listing.page([], "", 10)).images
    assert (first.held.digest, first.status) == (descriptor(other).digest, None)
    assert second.status is not None
    assert second.status.phase is Phase.REPLICATED


async def test_pages(way: Way, images: Images, listing: Listing) -> None:
    """Each goes on behind the last name of the one before, and the last one says that it is."""
    for tag in ("a", "b", "c"):
        await _push(way, images, tag)
    first = await listing.page([], "", 2)
    assert (_tags(first), first.last) == (["a", "b"], f"{way.repository}:b")
    assert first.last
    second = await listing.page([], first.last, 2)
    assert (_tags(second), second.last) == (["c"], None)
