"""What is known of the upstreams: uploads that can be gone on with, which blobs lie where, what tags mean."""

from mirror.core.ports import Transfer, UpstreamTag
from mirror.journal.db import Database, Session
from mirror.journal.grants import content_key
from mirror.oci.names import Digest, Repository


class TransfersTable:
    """The `Transfers` port on the journal."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, repository: Repository, digest: Digest) -> Transfer | None:
        """The upload of a blob that was begun before."""
        key = content_key(repository, digest)
        row = await self._database.transact(lambda session: session.row("find_transfer", **key))
        return Transfer(row["location"], row["offset"]) if row else None

    async def note(self, repository: Repository, digest: Digest, transfer: Transfer, now: float) -> None:
        """An upload was begun, or got further."""

        def work(session: Session) -> None:
            key = content_key(repository, digest)
            session.rows("note_transfer", **key, location=transfer.location, offset=transfer.offset, noted=now)

        await self._database.transact(work)

    async def forget(self, repository: Repository, digest: Digest) -> None:
        """There is no such upload any more."""
        key = content_key(repository, digest)
        await self._database.transact(lambda session: session.rows("forget_transfer", **key))

    async def saw(self, repository: Repository, digest: Digest, now: float) -> None:
        """The upstream has this blob in this repository; an upload of it is over."""

        def work(session: Session) -> None:
            key = content_key(repository, digest)
            session.rows("saw_blob", **key, seen=now)
            session.rows("forget_transfer", **key)

        await self._database.transact(work)

    async def elsewhere(self, repository: Repository, digest: Digest) -> Repository | None:
        """Another repository of the same registry in which the blob was seen last."""
        key = content_key(repository, digest)
        row = await self._database.transact(lambda session: session.row("seen_elsewhere", **key))
        return Repository(repository.registry, row["repository"]) if row else None

    async def tag(self, repository: Repository, tag: str) -> UpstreamTag | None:
        """What a tag meant there when it was asked for last."""
        row = await self._database.transact(lambda session: session.row("find_upstream_tag", **_tag(repository, tag)))
        return UpstreamTag(Digest(row["digest"]), row["asked"]) if row else None

    async def saw_tag(self, repository: Repository, tag: str, digest: Digest, now: float) -> None:
        """The upstream was asked what a tag means."""
        values = _tag(repository, tag) | {"digest": digest}
        await self._database.transact(lambda session: session.rows("saw_upstream_tag", **values, asked=now))

    async def forget_tag(self, repository: Repository, tag: str) -> None:
        """The upstream has no such tag."""
        await self._database.transact(lambda session: session.rows("forget_upstream_tag", **_tag(repository, tag)))


def _tag(repository: Repository, tag: str) -> dict[str, str]:
    return {"registry": repository.registry, "repository": repository.path, "tag": tag}
