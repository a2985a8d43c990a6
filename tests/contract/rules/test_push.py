"""Upload sessions on a real containerd in which somebody else removes what holds them."""

import secrets
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mirror.core.drain import Gate
from mirror.core.ports import Content, Grants, Leases
from mirror.core.push import BlobPush, UploadLimits
from mirror.core.upload import Chunk
from mirror.journal.db import Database
from mirror.journal.uploads import UploadsTable
from mirror.oci.errors import Problem, RegistryError
from mirror.oci.names import Repository
from tests.contract.pushes import unlimited
from tests.contract.store import fresh
from tests.unit.clock import ManualClock

SIZE = 1_500_000


@pytest.fixture
def repository() -> Repository:
    return Repository("registry.example.com", f"team/{secrets.token_hex(8)}")


@pytest.fixture
def blob_push(
    database: Database, content: Content, leases: Leases, grants: Grants, clock: ManualClock, path: Path
) -> Callable[[], BlobPush]:
    """Makes the use cases anew, as after a start."""
    return lambda: BlobPush(
        content=content,
        leases=leases,
        uploads=UploadsTable(database),
        grants=grants,
        clock=clock,
        new_id=lambda: uuid.uuid4().hex,
        max_age=3600.0,
        arrived=lambda *_: None,
        gate=Gate(),
        admission=unlimited(path),
        limits=UploadLimits(),
    )


async def _bytes(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _chunk(data: bytes) -> Chunk:
    return Chunk(_bytes(data), None, None)


@pytest.mark.parametrize("collected", [True, False], ids=["collected", "not collected yet"])
@pytest.mark.parametrize("restarted", [True, False], ids=["restarted", "open"])
async def test_a_lease_that_is_removed(
    blob_push: Callable[[], BlobPush],
    repository: Repository,
    content: Content,
    leases: Leases,
    *,
    collected: bool,
    restarted: bool,
) -> None:
    """The client is told that there is no such upload, and a new one succeeds; of the old one nothing is left."""
    data, digest = fresh(SIZE)
    push = blob_push()
    upload = await push.begin(repository)
    await push.append(repository, upload.id, _chunk(data))
    name = f"registry-mirror/upload/{upload.id}"
    await leases.delete(name)
    if collected:
        await leases.collect()
    if restarted:
        await push.close()
        push = blob_push()
    for _ in range(2):
        with pytest.raises(RegistryError) as refusal:
            await push.finish(repository, upload.id, digest, _chunk(b""))
        assert refusal.value.problem is Problem.UPLOAD_UNKNOWN
    assert await content.ingested(name) is None
    await push.push(repository, digest, _chunk(data))
    assert await content.size(digest) == SIZE
    await push.close()


async def test_an_ingest_that_is_removed(
    blob_push: Callable[[], BlobPush], repository: Repository, content: Content, leases: Leases
) -> None:
    """Containerd takes bytes for it all the same; at the commit the client is told that there is no such upload."""
    data, digest = fresh(SIZE)
    push = blob_push()
    upload = await push.begin(repository)
    name = f"registry-mirror/upload/{upload.id}"
    await push.append(repository, upload.id, _chunk(data[:1_000_000]))
    await content.abort(name)
    await push.append(repository, upload.id, _chunk(data[1_000_000:]))
    with pytest.raises(RegistryError) as refusal:
        await push.finish(repository, upload.id, digest, _chunk(b""))
    assert refusal.value.problem is Problem.UPLOAD_UNKNOWN
    assert await content.size(digest) is None
    assert name not in await leases.list(name)
