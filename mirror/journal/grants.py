"""Which repository holds which content."""

from mirror.journal.db import Database, Session
from mirror.oci.names import Digest, Repository


class GrantsTable:
    """The `Grants` port on the journal."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def granted(self, repository: Repository, digests: list[Digest]) -> set[Digest]:
        """Those of `digests` that the repository holds."""

        def work(session: Session) -> set[Digest]:
            return {digest for digest in digests if session.row("find_grant", **_key(repository, digest))}

        return await self._database.transact(work)

    async def media_type(self, repository: Repository, digest: Digest) -> str | None:
        """The media type of a manifest that the repository holds."""
        row = await self._database.transact(lambda session: session.row("find_grant", **_key(repository, digest)))
        return row["media_type"] if row else None

    async def settle(self, repository: Repository, digests: list[Digest]) -> list[str]:
        """Forget, and return, the leases that held the blobs since their upload."""

        def work(session: Session) -> list[str]:
            leases = [held_since_upload(session, repository, digest) for digest in digests]
            for digest in digests:
                session.rows("settle_grant", **_key(repository, digest))
            return [lease for lease in leases if lease]

        return await self._database.transact(work)


def held_since_upload(session: Session, repository: Repository, digest: Digest) -> str | None:
    """The lease that holds a blob since its upload, while no image refers to it."""
    row = session.row("held_since_upload", **_key(repository, digest))
    return row["lease"] if row else None


def _key(repository: Repository, digest: Digest) -> dict[str, str]:
    return {"registry": repository.registry, "repository": repository.path, "digest": digest}
