"""The way of an image upstream, rule by rule: pushed to the real stores, and seen at its end."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from mirror.core.jobs import Job, Kind, NewJob, Task
from mirror.core.ports import Content, Grants, Jobs, Leases, Replacement, Transfers
from mirror.core.progress import Board
from mirror.core.replication.carrier import Carrier
from mirror.core.replication.fallback import FallbackTags
from mirror.core.replication.pace import Throttle
from mirror.core.replication.precedence import Precedence
from mirror.core.replication.replicator import Replicator
from mirror.core.replication.restore import Restorer
from mirror.core.replication.turns import Turns, Wish
from mirror.oci.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor, Manifest, parse_manifest
from mirror.oci.names import Reference, Repository, digest_of
from mirror.upstream.client import RegistryClient
from tests.contract.store import fresh, store
from tests.rig.proxy import Proxy
from tests.rig.registry import Registry
from tests.unit.clock import EPOCH, ManualClock

BEGIN = "/blobs/uploads/$"
UPLOAD = "/blobs/uploads/."
MANIFESTS = "/manifests/"


@dataclass(frozen=True)
class Way:
    """The rules of replication, between the stores of this host and the proxy before the registry."""

    content: Content
    leases: Leases
    replacement: Replacement
    lease: str
    grants: Grants
    jobs: Jobs
    transfers: Transfers
    clock: ManualClock
    board: Board
    upstream: RegistryClient
    proxy: Proxy
    registry: Registry
    repository: Repository
    reached: list[int] = field(default_factory=list)
    """What was told of the progress of blobs."""

    @cached_property
    def precedence(self) -> Precedence:
        """Shared by all carriers."""
        return Precedence(self.clock)

    @property
    def other(self) -> Repository:
        """A second repository of the same registry."""
        return Repository(self.repository.registry, f"{self.repository.path}/other")

    def carrier(self) -> Carrier:
        """A new one, as after a start."""
        return Carrier(
            self.upstream,
            content=self.content,
            transfers=self.transfers,
            clock=self.clock,
            turns=Turns(4),
            precedence=self.precedence,
            throttle=Throttle(),
        )

    def replicator(self, upstreams: Mapping[str, RegistryClient] | None = None) -> Replicator:
        """A new one; for other `upstreams` than ours if they are given."""
        ours = {self.repository.registry: self.upstream} if upstreams is None else upstreams
        return Replicator(
            content=self.content,
            grants=self.grants,
            jobs=self.jobs,
            upstreams=ours,
            carriers={name: self.carrier() for name in ours},
            fallback=FallbackTags(self.grants),
            board=self.board,
            clock=self.clock,
        )

    def restorer(self, upstreams: Mapping[str, RegistryClient] | None = None) -> Restorer:
        """A new one; for other `upstreams` than ours if they are given."""
        ours = {self.repository.registry: self.upstream} if upstreams is None else upstreams
        return Restorer(
            content=self.content,
            leases=self.leases,
            grants=self.grants,
            upstreams=ours,
            replacement=self.replacement,
            new_id=lambda: uuid.uuid4().hex,
        )

    async def blob(
        self, data: bytes | None = None, size: int = 1000, repository: Repository | None = None
    ) -> Descriptor:
        """Push a blob, of bytes that nobody else has if none are given."""
        data = fresh(size)[0] if data is None else data
        digest = await store(self.content, data, self.lease)
        await self.grants.grant(repository or self.repository, digest, self.lease)
        return Descriptor(digest=digest, size=len(data), media_type="application/vnd.example.layer")

    async def bring(
        self,
        blob: Descriptor,
        repository: Repository | None = None,
        carrier: Carrier | None = None,
        *,
        gives_way: bool = False,
    ) -> None:
        """See a blob upstream, by a new carrier if none is given."""
        wish = Wish(repository or self.repository, blob.size, EPOCH, gives_way)
        await (carrier or self.carrier()).bring(wish, blob, self.reached.append)

    async def push(
        self, raw: bytes, media_type: str = OCI_MANIFEST, tag: str | None = "v1", *, is_variant: bool = False
    ) -> Task:
        """Push a manifest; returns its replication."""
        manifest = parse_manifest(raw, media_type)
        edges = {place: child.digest for place, child in manifest.edges().items()}
        await self.content.put(raw, manifest.digest, self.lease, edges)
        reference = Reference(tag=tag, digest=None if tag else manifest.digest)
        new = NewJob(self.repository, reference, manifest.digest, manifest.media_type, self.lease, EPOCH)
        new = replace(new, is_variant=is_variant)
        if manifest.subject:
            new = replace(new, subject=manifest.subject.digest, referrer=manifest.referrer)
        return await self.task(await self.jobs.enqueue(new))

    async def task(self, job: Job, kind: Kind = Kind.REPLICATE) -> Task:
        """One of the tasks of a job."""
        return next(task for task in await self.jobs.tasks(job.id) if task.kind is kind)

    def holds(self, blob: Descriptor, repository: Repository | None = None) -> bool:
        """Whether the upstream has a blob."""
        return self.registry.blob((repository or self.repository).path, blob.digest) is not None

    def sent(self) -> list[int]:
        """Of each request that carried a part of a blob, how many bytes."""
        return [request.taken for request in self.proxy.seen("PUT", UPLOAD) if request.size]

    def put(self) -> list[str]:
        """What manifests were put under, in order."""
        return [request.path.rpartition("/")[2] for request in self.proxy.seen("PUT", MANIFESTS)]


def image(*blobs: Descriptor, **fields: object) -> bytes:
    """The manifest of an image; the first blob is its config."""
    config, *layers = [pointer(blob) for blob in blobs]
    body = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers, **fields}
    return json.dumps(body).encode()


def index(*children: bytes | Descriptor) -> bytes:
    """An index of images."""
    entries = [pointer(child if isinstance(child, Descriptor) else descriptor(child)) for child in children]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()


def descriptor(raw: bytes) -> Descriptor:
    """What points to a manifest."""
    return Descriptor(digest=digest_of(raw), size=len(raw), media_type=parsed(raw).media_type)


def parsed(raw: bytes) -> Manifest:
    """A manifest that says what it is."""
    return parse_manifest(raw)


def pointer(blob: Descriptor) -> dict[str, object]:
    """A descriptor as it stands in a manifest."""
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}
