"""Copying an image upstream, on a real journal, containerd and registry."""

import asyncio
import json

import pytest

from mirror.core.errors import ContentMissingError, UpstreamError
from mirror.core.jobs import Backoff, Cause, Kind, Outcome, State, decide
from mirror.oci.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor
from mirror.oci.names import digest_of
from tests.contract.rules.way import MANIFESTS, UPLOAD, Way, image, index, parsed
from tests.contract.store import fresh
from tests.rig.containerd import Containerd
from tests.rig.faults import Reply
from tests.unit.chance import Most
from tests.unit.clock import EPOCH

DONE = Outcome(State.DONE)
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"


async def test_the_order(way: Way) -> None:
    """Blobs, then manifests from the leaves up, the tag last; a second attempt finds it all, and sets the tag again."""
    config, layer = await way.blob(), await way.blob()
    child = image(config, layer)
    await way.push(child, tag=None)
    middle = index(child)
    await way.push(middle, OCI_INDEX, tag=None)
    root = index(middle)
    task = await way.push(root, OCI_INDEX)
    assert await way.replicator().attempt(task) == DONE
    assert way.put() == [digest_of(child), digest_of(middle), digest_of(root), "v1"]
    last_blob = max(at for at, request in enumerate(way.proxy.requests) if "/blobs/" in request.path)
    assert last_blob < way.proxy.requests.index(way.proxy.seen("PUT", MANIFESTS)[0])
    assert await way.replicator().attempt(task) == DONE
    assert way.put()[4:] == ["v1"]


async def test_the_largest_blob_waits(way: Way) -> None:
    """Of more blobs than go together the largest is asked for once another is upstream, though it is named first."""
    largest, *others = [await way.blob(size=size) for size in range(1020, 1000, -1)]
    await way.replicator().attempt(await way.push(image(largest, *others)))
    asked = way.proxy.requests.index(way.proxy.seen("HEAD", largest.digest)[0])
    sent = [way.proxy.requests.index(request) for request in way.proxy.seen("PUT", UPLOAD)]
    assert min(sent) < asked


async def test_a_blob_that_is_named_twice(way: Way) -> None:
    """Is one blob: it is asked for and sent once."""
    blob = await way.blob()
    await way.replicator().attempt(await way.push(image(blob, blob, blob)))
    assert way.sent() == [blob.size]


async def test_progress(way: Way) -> None:
    """All bytes of all blobs count, those that were upstream before too; it is gone once the attempt is over."""
    blobs = [await way.blob(), await way.blob()]
    await way.bring(blobs[0])
    task = await way.push(image(*blobs))
    replicator = way.replicator()
    with way.board.entry(-1, Kind.REPLICATE) as mine:
        await replicator._bring(task, blobs, mine)
        assert (mine.done, mine.of) == (2000, 2000)
    await replicator.attempt(task)
    assert way.board.find(task.job.id, Kind.REPLICATE) is None


async def test_a_manifest_that_is_not_kept_as_it_is(way: Way) -> None:
    """An upstream that re-writes what it is given does not have what was pushed."""
    raw = image(await way.blob())
    task = await way.push(raw)
    way.proxy.arm(Reply(404), "GET", digest_of(raw))
    way.proxy.arm(Reply(200, {"Content-Type": OCI_MANIFEST}, raw + b"\n"), "GET", digest_of(raw), times=1)
    with pytest.raises(UpstreamError, match="does not have it") as refusal:
        await way.replicator().attempt(task)
    assert refusal.value.transient


async def test_a_manifest_that_is_there_with_other_bytes(way: Way) -> None:
    """That is not the one: it is put, and read back."""
    raw = image(await way.blob())
    task = await way.push(raw)
    way.proxy.arm(Reply(200, {"Content-Type": OCI_MANIFEST}, raw + b"\n"), "GET", digest_of(raw))
    assert await way.replicator().attempt(task) == DONE
    assert way.put() == [digest_of(raw), "v1"]


async def test_a_tag_that_stays_where_it_was(way: Way) -> None:
    """A 201 for a tag that is not moved is noticed, as it still stands for what it stood for."""
    await way.replicator().attempt(await way.push(image(await way.blob())))
    task = await way.push(image(await way.blob()))
    way.proxy.arm(Reply(201), "PUT", "/manifests/v1$")
    with pytest.raises(UpstreamError, match="accepted manifest v1 but") as refusal:
        await way.replicator().attempt(task)
    assert refusal.value.transient
    assert await way.replicator().attempt(task) == DONE


async def test_a_tag_that_has_moved_on(way: Way) -> None:
    """The earlier push is there by digest; its tag is left to the later one."""
    first = await way.push(image(await way.blob()))
    later = await way.push(image(await way.blob()))
    outcome = await way.replicator().attempt(first)
    assert (outcome.state, outcome.reason) == (State.DONE, "by digest only: the tag has moved on")
    assert "v1" not in way.put()
    assert await way.replicator().attempt(later) == DONE
    stored = way.registry.manifest(way.repository.path, "v1")
    assert stored is not None
    assert stored.digest == later.job.digest


async def test_by_digest(way: Way) -> None:
    """No tag is made up."""
    raw = image(await way.blob())
    await way.replicator().attempt(await way.push(raw, tag=None))
    assert way.put() == [digest_of(raw)]
    assert way.registry.tags(way.repository.path) == set()


async def test_a_registry_that_was_taken_out_of_the_settings(way: Way) -> None:
    """Nobody is asked, and a person is told."""
    task = await way.push(image(await way.blob()))
    with pytest.raises(UpstreamError) as refusal:
        await way.replicator({}).attempt(task)
    outcome = decide(refusal.value, 0, EPOCH, Backoff(1, 1), Most())
    assert outcome == Outcome(
        State.PARKED, "registry registry.example.com is not configured any more", cause=Cause.UPSTREAM_REFUSED
    )
    assert way.proxy.requests == []


async def test_a_layer_that_lives_elsewhere(way: Way) -> None:
    """It is not here and need not be; one that is here goes along."""
    config, here = await way.blob(), await way.blob()
    absent = Descriptor(digest=fresh()[1], size=9, media_type=FOREIGN)
    present = Descriptor(digest=here.digest, size=here.size, media_type=FOREIGN)
    replicator = way.replicator()
    task = await way.push(image(config, absent, present))
    blobs = await replicator._blobs(way.repository, [parsed(image(config, absent, present))])
    assert {blob.digest for blob in blobs} == {config.digest, here.digest}
    with pytest.raises(UpstreamError, match="MANIFEST_"):  # this upstream does not allow it
        await replicator.attempt(task)
    assert way.holds(here)


class TestIndex:
    async def test_what_the_repository_was_not_given(self, way: Way) -> None:
        """What is here for another repository does not go upstream in this one."""
        foreign = await way.blob(repository=way.other)
        replicator = way.replicator()
        task = await way.push(index(foreign), OCI_INDEX)
        with pytest.raises(UpstreamError):
            await replicator.attempt(task)
        assert not way.holds(foreign)

    async def test_the_layers_of_a_cache(self, way: Way) -> None:
        """An index may list blobs: those that were pushed as such go along."""
        blob = await way.blob()
        assert await way.replicator().attempt(await way.push(index(blob), OCI_INDEX)) == DONE
        assert way.holds(blob)

    async def test_a_child_that_vanished(self, way: Way, containerd: Containerd) -> None:
        """It was not deleted here, so it is missing by its digest."""
        child = image(await way.blob())
        await way.push(child, tag=None)
        task = await way.push(index(child), OCI_INDEX)
        containerd.ctr("content", "rm", digest_of(child))
        with pytest.raises(ContentMissingError, match=digest_of(child)):
            await way.replicator().attempt(task)

    async def test_a_child_that_was_deleted(self, way: Way, containerd: Containerd) -> None:
        """What is deleted but still here goes along; once it is gone too, the index is sparse."""
        child = image(await way.blob())
        await way.push(child, tag=None)
        task = await way.push(index(child), OCI_INDEX)
        await way.grants.revoke(way.repository, digest_of(child))
        assert await way.replicator().attempt(task) == DONE
        assert digest_of(child) in way.put()
        containerd.ctr("content", "rm", digest_of(child))
        assert await way.replicator().attempt(task) == DONE


async def test_a_blob_that_vanished(way: Way, containerd: Containerd) -> None:
    """It is missing though the upstream has it: whoever starts the image needs it here."""
    blob = await way.blob()
    await way.bring(blob)
    task = await way.push(image(blob))
    containerd.ctr("content", "rm", blob.digest)
    with pytest.raises(ContentMissingError, match=blob.digest):
        await way.replicator().attempt(task)


@pytest.mark.parametrize(("status", "asks_again"), [(500, True), (403, False)])
async def test_a_manifest_that_cannot_be_asked_for(way: Way, status: int, *, asks_again: bool) -> None:
    """An upstream that fails at the question is sent the manifest; one that refuses is not."""
    raw = image(await way.blob())
    task = await way.push(raw)
    way.proxy.arm(Reply(status), "GET", digest_of(raw))
    if asks_again:
        assert await way.replicator().attempt(task) == DONE
        return
    with pytest.raises(UpstreamError, match=str(status)):
        await way.replicator().attempt(task)
    assert way.put() == []


@pytest.mark.parametrize(("code", "transient"), [("DIGEST_INVALID", True), ("MANIFEST_INVALID", False)])
async def test_a_manifest_that_is_refused(way: Way, code: str, *, transient: bool) -> None:
    """Its digest is right, whoever says otherwise cannot read a blob of it just now; all else is for good."""
    task = await way.push(image(await way.blob()))
    body = json.dumps({"errors": [{"code": code}]}).encode()
    way.proxy.arm(Reply(400, {"Content-Type": "application/json"}, body), "PUT", MANIFESTS)
    with pytest.raises(UpstreamError, match=code) as refusal:
        await way.replicator().attempt(task)
    assert (refusal.value.transient, refusal.value.status, refusal.value.code) == (transient, 400, code)


async def test_a_variant_whose_tag_moves_on(way: Way) -> None:
    """It is left where it is, so that what comes next under the tag need not wait; its upload can be gone on with."""
    blob = await way.blob(size=4 << 20)
    task = await way.push(image(blob), is_variant=True)
    with way.precedence.first():
        async with asyncio.TaskGroup() as group:
            attempt = group.create_task(way.replicator().attempt(task))
            await way.clock.until_asleep(10)
            assert way.board.find(task.job.id, Kind.REPLICATE)
            await way.push(image(await way.blob()))
            way.clock.advance(1)
    assert attempt.result() == Outcome(State.CANCELLED, "the tag has moved on")
    assert way.board.find(task.job.id, Kind.REPLICATE) is None
    assert not way.holds(blob)
    assert await way.transfers.find(way.repository, blob.digest)
    # By digest it is nothing that anything waits for.
    by_digest = await way.push(image(blob), tag=None, is_variant=True)
    assert (await way.replicator().attempt(by_digest)).state is State.DONE
    assert way.holds(blob)
