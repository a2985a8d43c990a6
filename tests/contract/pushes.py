"""Pushes as the contract tests of the journal, and of what works on it, need them."""

import secrets
from pathlib import Path

from mirror.core.admission import Admission
from mirror.core.capacity import Capacity, Marks
from mirror.core.jobs import NewJob
from mirror.oci.manifest import OCI_MANIFEST
from mirror.oci.names import Digest, Reference, Repository, digest_of
from mirror.runtime.disk import HostDisk
from tests.unit.clock import EPOCH

REPOSITORY = Repository("registry.example.com", "team/app")


def unlimited(journal: Path) -> Admission:
    """An admission that was not told where containerd's disks are."""
    return Admission(Capacity(HostDisk(), Marks(), journal), lambda _: None)


def fresh_digest() -> Digest:
    """A digest of nothing that exists."""
    return digest_of(secrets.token_bytes(8))


def push(
    tag: str | None = "v1", *, repository: Repository = REPOSITORY, digest: Digest | None = None, now: float = EPOCH
) -> NewJob:
    """A manifest about to be acknowledged, under a lease of its own; without a `tag` it is pushed by digest."""
    digest = digest or fresh_digest()
    reference = Reference(tag=tag, digest=None if tag else digest)
    return NewJob(repository, reference, digest, OCI_MANIFEST, f"registry-mirror/job/{secrets.token_hex(8)}", now)
