"""Which repository holds which content."""

import sqlite3
from collections.abc import Sequence

import msgspec

from mirror.core.ports import NO_CLAIM, Claim, Grant
from mirror.journal.db import Database, Session
from mirror.oci.manifest import Descriptor, Manifest
from mirror.oci.names import Digest, Repository

BEFORE_ALL = {"registry": "", "repository": "", "digest": ""}
"""What comes before the content of any repository, in the parameters of a statement."""


class GrantsTable:
    """The `Grants` port on the journal."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def granted(self, repository: Repository, digests: list[Digest]) -> set[Digest]:
        """Those of `digests` that the repository holds."""

        def work(session: Session) -> set[Digest]:
            return {digest for digest in digests if session.row("find_grant", **content_key(repository, digest))}

        return await self._database.transact(work)

    async def media_type(self, repository: Repository, digest: Digest) -> str | None:
        """The media type of a manifest that the repository holds."""
        row = await self._database.transact(
            lambda session: session.row("find_grant", **content_key(repository, digest))
        )
        return row["media_type"] if row else None

    async def given(self, repository: Repository, digests: list[Digest]) -> dict[Digest, str | None]:
        """Those of `digests` that the repository ever held, with the media types of manifests."""

        def work(session: Session) -> dict[Digest, str | None]:
            rows = {digest: session.row("was_granted", **content_key(repository, digest)) for digest in digests}
            return {digest: row["media_type"] for digest, row in rows.items() if row}

        return await self._database.transact(work)

    async def grant(self, repository: Repository, digest: Digest, lease: str, claim: Claim = NO_CLAIM) -> str | None:
        """Give a blob to a repository; returns the lease of an earlier grant of the same blob."""
        return await self._database.transact(lambda session: grant_blob(session, repository, digest, lease, claim))

    async def held_by(self, tenant: str, besides: Digest | None = None) -> int:
        """The bytes of a tenant's blobs."""
        return await self._database.transact(lambda session: _held_by(session, tenant, besides))

    async def pull(self, repository: Repository, manifest: Manifest, lease: str) -> str | None:
        """Give a repository a manifest that came from its upstream; returns the lease of an earlier grant."""

        def work(session: Session) -> str | None:
            earlier = held_since_upload(session, repository, manifest.digest)
            key = content_key(repository, manifest.digest)
            session.rows("grant_pulled", **key, media_type=manifest.media_type, lease=lease)
            if manifest.subject:
                insert_referrer(session, repository, manifest.digest, manifest.subject.digest, manifest.referrer)
            return earlier

        return await self._database.transact(work)

    async def is_pulled(self, repository: Repository, digest: Digest) -> bool:
        """Whether the repository holds this manifest, and nobody pushed it here."""
        return await self._pulled(repository, digest) is not None

    async def is_loose(self, repository: Repository, digest: Digest) -> bool:
        """Whether a manifest was pulled and no image refers to it yet."""
        row = await self._pulled(repository, digest)
        return row is not None and row["lease"] is not None

    async def _pulled(self, repository: Repository, digest: Digest) -> sqlite3.Row | None:
        key = content_key(repository, digest)
        return await self._database.transact(lambda session: session.row("find_pulled", **key))

    async def revoke(self, repository: Repository, digest: Digest) -> str | None:
        """Take content from a repository, and from the lists of referrers; returns the lease that held it."""

        def work(session: Session) -> str | None:
            lease = held_since_upload(session, repository, digest)
            session.rows("forget_referrer", **content_key(repository, digest))
            session.rows("revoke_grant", **content_key(repository, digest))
            return lease

        return await self._database.transact(work)

    async def anywhere(self, registry: str, digest: Digest) -> bool:
        """Whether any repository of a registry holds this content."""
        query = {"registry": registry, "digest": digest}
        return await self._database.transact(lambda session: bool(session.row("granted_anywhere", **query)))

    async def exists(self, repository: Repository) -> bool:
        """Whether the repository holds anything."""
        query = {"registry": repository.registry, "repository": repository.path}
        return await self._database.transact(lambda session: bool(session.row("any_grant", **query)))

    async def repositories(self, registry: str, after: str, limit: int) -> list[str]:
        """The first `limit` paths of repositories that hold anything, in ASCII order, from behind `after`."""
        rows = await self._database.transact(
            lambda session: session.rows("repositories", registry=registry, after=after, limit=limit)
        )
        return [row["repository"] for row in rows]

    async def referrers(self, repository: Repository, subject: Digest) -> list[Descriptor]:
        """The manifests that the repository was given about `subject`, in the order in which they came."""
        query = {"registry": repository.registry, "repository": repository.path, "subject": subject}
        rows = await self._database.transact(lambda session: session.rows("find_referrers", **query))
        return [msgspec.json.decode(row["descriptor"], type=Descriptor) for row in rows]

    async def leases(self) -> set[str]:
        """The leases that hold blobs since their upload."""
        rows = await self._database.transact(lambda session: session.rows("leases_since_upload"))
        return {row["lease"] for row in rows}

    async def loose(self, prefix: str) -> list[Grant]:
        """The grants of blobs that leases hold since their upload whose names begin like this."""
        rows = await self._database.transact(lambda session: session.rows("loose_grants", prefix=prefix))
        return [_grant(row) for row in rows]

    async def page(self, after: Grant | None, limit: int) -> list[Grant]:
        """The first `limit` grants from behind `after`, revoked ones included."""
        start = content_key(after.repository, after.digest) if after else BEFORE_ALL
        rows = await self._database.transact(lambda session: session.rows("grants_page", **start, limit=limit))
        return [_grant(row) for row in rows]

    async def holders(self, digest: Digest) -> list[Repository]:
        """The repositories that hold this content."""
        rows = await self._database.transact(lambda session: session.rows("holders", digest=digest))
        return [Repository(row["registry"], row["repository"]) for row in rows]

    async def drop(self, grants: Sequence[Grant]) -> None:
        """Revoke those of `grants` that are still as they were read."""

        def work(session: Session) -> None:
            for grant in grants:
                where = content_key(grant.repository, grant.digest)
                if session.row("drop_grant", **where, lease=grant.lease):
                    session.rows("forget_referrer", **where)

        await self._database.transact(work)

    async def forget(self, grants: Sequence[Grant], newest: int) -> None:
        """Delete those of `grants` that are revoked, unless a job after `newest` may need them."""

        def work(session: Session) -> None:
            for grant in grants:
                session.rows("forget_grant", **content_key(grant.repository, grant.digest), newest=newest)

        await self._database.transact(work)

    async def settle(self, repository: Repository, digests: list[Digest]) -> list[str]:
        """Forget, and return, the leases that held the blobs since their upload."""

        def work(session: Session) -> list[str]:
            leases = [held_since_upload(session, repository, digest) for digest in digests]
            for digest in digests:
                session.rows("settle_grant", **content_key(repository, digest))
            return [lease for lease in leases if lease]

        return await self._database.transact(work)


def grant_blob(session: Session, repository: Repository, digest: Digest, lease: str, claim: Claim) -> str | None:
    """Give a blob to a repository; returns the lease that held it until now. Raises TenantFullError."""
    earlier = held_since_upload(session, repository, digest)
    key = content_key(repository, digest)
    session.rows("grant_blob", **key, lease=lease, tenant=claim.tenant, size=claim.size)
    if claim.most:
        claim.check(_held_by(session, claim.tenant, digest))
    return earlier


def _held_by(session: Session, tenant: str, besides: Digest | None) -> int:
    row = session.row("held_by_tenant", tenant=tenant, besides=besides)
    return row["bytes"] if row else 0


def held_since_upload(session: Session, repository: Repository, digest: Digest) -> str | None:
    """The lease that holds a blob since its upload, while no image refers to it."""
    row = session.row("held_since_upload", **content_key(repository, digest))
    return row["lease"] if row else None


def insert_referrer(
    session: Session, repository: Repository, digest: Digest, subject: Digest, descriptor: Descriptor
) -> None:
    """List a manifest among the referrers of another one."""
    key = content_key(repository, digest)
    session.rows("insert_referrer", **key, subject=subject, descriptor=msgspec.json.encode(descriptor))


def _grant(row: sqlite3.Row) -> Grant:
    repository = Repository(row["registry"], row["repository"])
    return Grant(repository, Digest(row["digest"]), row["lease"], bool(row["revoked"]))


def content_key(repository: Repository, digest: Digest) -> dict[str, str]:
    """What names a repository's content in the parameters of a statement."""
    return {"registry": repository.registry, "repository": repository.path, "digest": digest}
