"""Lists of referrers under a tag of their subject, on a real registry that does not list them itself."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from mirror.core.errors import UpstreamError
from mirror.core.replication.fallback import FallbackTags
from mirror.oci.manifest import OCI_INDEX, OCI_MANIFEST, Manifest
from mirror.oci.names import digest_of
from tests.contract.pushes import push
from tests.contract.rules.way import Way, descriptor, image, parsed, pointer
from tests.rig.faults import Reply

ANNOTATIONS = {"org.example.kind": "scan", "org.example.note": "überprüft"}


class Subject:
    """An image upstream, and those that say something about it."""

    def __init__(self, way: Way, raw: bytes) -> None:
        self.way = way
        self.raw = raw
        self.tag = digest_of(raw).replace(":", "-")

    @classmethod
    async def upstream(cls, way: Way) -> "Subject":
        """An image that is there."""
        subject = cls(way, image(await way.blob()))
        await way.replicator().attempt(await way.push(subject.raw))
        return subject

    async def referrer(self, **fields: object) -> Manifest:
        """Something about it that is upstream, and not listed yet."""
        raw = image(await self.way.blob(), subject=pointer(descriptor(self.raw)), **fields)
        manifest = parsed(raw)
        for blob in manifest.blobs:
            await self.way.bring(blob)
        await self.way.upstream.put_manifest(self.way.repository, manifest.digest, OCI_MANIFEST, raw)
        return manifest

    async def put(self, document: dict[str, Any]) -> None:
        """Write the list, as somebody else."""
        raw = json.dumps(document).encode()
        await self.way.upstream.put_manifest(self.way.repository, self.tag, OCI_INDEX, raw)

    def listed(self) -> dict[str, Any]:
        """The list."""
        stored = self.way.registry.manifest(self.way.repository.path, self.tag)
        assert stored is not None
        assert stored.media_type == OCI_INDEX
        document: dict[str, Any] = json.loads(stored.raw)
        return document

    def puts(self) -> int:
        """How often the list was written."""
        return self.way.put().count(self.tag)


@pytest.fixture
async def subject(way: Way) -> Subject:
    return await Subject.upstream(way)


async def test_how_it_is_listed(way: Way, subject: Subject) -> None:
    """With its type and annotations, which is what a client looks for; without a type it has that of its config."""
    typed = await subject.referrer(artifactType="application/vnd.example.scan", annotations=ANNOTATIONS)
    plain = await subject.referrer()
    tags = FallbackTags(way.grants)
    for manifest in (typed, plain):
        await tags.add(way.upstream, way.repository, manifest)
    first, second = subject.listed()["manifests"]
    assert first == {
        "mediaType": OCI_MANIFEST,
        "digest": typed.digest,
        "size": len(typed.raw),
        "artifactType": "application/vnd.example.scan",
        "annotations": ANNOTATIONS,
    }
    assert (second["digest"], second["artifactType"]) == (plain.digest, "application/vnd.example.layer")
    assert subject.listed()["schemaVersion"] == 2


async def test_again_is_no_change(way: Way, subject: Subject) -> None:
    """A list that says it all is not written again."""
    manifest = await subject.referrer()
    for _ in range(2):
        await FallbackTags(way.grants).add(way.upstream, way.repository, manifest)
    assert subject.puts() == 1
    await FallbackTags(way.grants).remove(way.upstream, way.repository, await subject.referrer())
    assert subject.puts() == 1


async def test_what_others_wrote(way: Way, subject: Subject) -> None:
    """Their entries, and all that we do not know of them and of the list, stay as they are, in their order."""
    theirs, ours = await subject.referrer(), await subject.referrer()
    entry = pointer(theirs.descriptor) | {"x-example": {"deep": [1, None]}, "urls": ["https://example.com/"]}
    before = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry], "annotations": {"by": "them"}}
    await subject.put(before | {"x-example": [True]})
    await FallbackTags(way.grants).add(way.upstream, way.repository, ours)
    after = subject.listed()
    assert [after["manifests"][0], after["manifests"][1]["digest"]] == [entry, ours.digest]
    await FallbackTags(way.grants).remove(way.upstream, way.repository, ours)
    assert subject.listed() == before | {"x-example": [True]}


async def test_many_at_once(way: Way, subject: Subject) -> None:
    """No entry is lost where jobs end side by side."""
    manifests = [await subject.referrer() for _ in range(5)]
    tags = FallbackTags(way.grants)
    async with asyncio.TaskGroup() as group:
        for manifest in manifests:
            group.create_task(tags.add(way.upstream, way.repository, manifest))
    assert {entry["digest"] for entry in subject.listed()["manifests"]} == {one.digest for one in manifests}


async def test_the_last_one_goes(way: Way, subject: Subject) -> None:
    """An empty list is a list."""
    manifest = await subject.referrer()
    await FallbackTags(way.grants).add(way.upstream, way.repository, manifest)
    await FallbackTags(way.grants).remove(way.upstream, way.repository, manifest)
    assert subject.listed()["manifests"] == []


async def test_an_upstream_that_lists_by_itself(way: Way, subject: Subject) -> None:
    """It needs no list kept."""
    manifest = await subject.referrer()
    way.proxy.arm(Reply(200, {"Content-Type": OCI_INDEX}, b"{}"), "GET", f"/referrers/{digest_of(subject.raw)}$")
    await FallbackTags(way.grants).add(way.upstream, way.repository, manifest)
    assert subject.puts() == 0


async def test_what_refers_to_nothing(way: Way, subject: Subject) -> None:
    """Nobody is asked."""
    before = len(way.proxy.requests)
    await FallbackTags(way.grants).add(way.upstream, way.repository, parsed(subject.raw))
    assert len(way.proxy.requests) == before


@pytest.mark.parametrize("raw", [b"[]", b"{}", b"no", b'{"manifests": null}', b'{"manifests": [1]}', b"\xff"])
async def test_a_tag_that_is_no_list(way: Way, subject: Subject, raw: bytes) -> None:
    """What somebody else put there is left alone, and a person told."""
    manifest = await subject.referrer()
    way.proxy.arm(Reply(200, {"Content-Type": OCI_INDEX}, raw), "GET", f"/manifests/{subject.tag}$")
    with pytest.raises(UpstreamError, match="no list of referrers") as refusal:
        await FallbackTags(way.grants).add(way.upstream, way.repository, manifest)
    assert not refusal.value.transient
    assert subject.puts() == 0


async def test_a_list_that_cannot_be_read(way: Way, subject: Subject) -> None:
    """An upstream that fails at the tag, as one does that was killed while it wrote it, gets what we know of."""
    earlier, ours, waiting = [await subject.referrer() for _ in range(3)]
    tags = FallbackTags(way.grants)
    await tags.add(way.upstream, way.repository, earlier)
    for manifest in (earlier, ours, waiting):
        await way.jobs.enqueue(
            replace(push(None, repository=way.repository), subject=digest_of(subject.raw), referrer=manifest.referrer)
        )
    await way.upstream.delete_manifest(way.repository, waiting.digest)
    way.proxy.arm(Reply(500), "GET", f"/manifests/{subject.tag}$", times=3)
    for _ in range(2):
        with pytest.raises(UpstreamError, match="500"):
            await tags.add(way.upstream, way.repository, ours)
    await tags.add(way.upstream, way.repository, ours)
    assert {entry["digest"] for entry in subject.listed()["manifests"]} == {earlier.digest, ours.digest}


async def test_a_list_that_is_only_said_to_be_there(way: Way, subject: Subject) -> None:
    """It is read back: a 201 is not believed."""
    manifest = await subject.referrer()
    way.proxy.arm(Reply(201), "PUT", f"/manifests/{subject.tag}$")
    with pytest.raises(UpstreamError, match="does not have it") as refusal:
        await FallbackTags(way.grants).add(way.upstream, way.repository, manifest)
    assert refusal.value.transient
