"""Which images are in use, and what nothing uses any more."""

import sqlite3

from mirror.core.jobs import State
from mirror.core.ports import Pulled, Push
from mirror.journal.db import Database, Session
from mirror.journal.grants import BEFORE_ALL, content_key
from mirror.journal.jobs import read_job
from mirror.oci.names import Digest, Repository

_BUSY = frozenset({State.PENDING, State.RUNNING})
_PAGE = 500


class UsageTable:
    """The `Usage` port on the journal."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(self, repository: Repository, digest: Digest, now: float) -> None:
        """A manifest was used; a transaction that changes nothing does not reach the disk."""
        key = content_key(repository, digest)
        await self._database.transact(lambda session: session.rows("note_use", **key, used=now))

    async def pushes(self) -> list[Push]:
        """The newest push of every name, oldest first."""
        found: list[Push] = []
        page = await self._pushes(0)
        while page:  # in pieces, so that others get their turn; a name that is pushed meanwhile comes once more
            found += page
            page = await self._pushes(page[-1].job.id)
        return found

    async def _pushes(self, after: int) -> list[Push]:
        def work(session: Session) -> list[Push]:
            return [_push(row) for row in session.rows("newest_pushes", after=after, limit=_PAGE)]

        return await self._database.transact(work)

    async def pulls(self) -> list[Pulled]:
        """The manifests that repositories hold and that nobody pushed."""
        found: list[Pulled] = []
        page = await self._pulls(BEFORE_ALL)
        while page:
            found += page
            page = await self._pulls(content_key(page[-1].repository, page[-1].digest))
        return found

    async def _pulls(self, after: dict[str, str]) -> list[Pulled]:
        rows = await self._database.transact(lambda session: session.rows("pulls", **after, limit=_PAGE))
        return [
            Pulled(Repository(row["registry"], row["repository"]), Digest(row["digest"]), row["used"]) for row in rows
        ]

    async def newest(self, repository: Repository) -> int:
        """The greatest id of a job of a repository."""
        query = {"registry": repository.registry, "repository": repository.path}
        row = await self._database.transact(lambda session: session.row("newest_of_repository", **query))
        return (row["job"] or 0) if row else 0

    async def drop(self, repository: Repository, digests: list[Digest]) -> None:
        """Take content from a repository, and from its lists of referrers, but for what was uploaded again."""

        def work(session: Session) -> None:
            for key in (content_key(repository, digest) for digest in digests):
                session.rows("drop_grant", **key, lease=None)
                for statement in ("forget_referrer", "forget_use"):
                    session.rows(statement, **key)

        await self._database.transact(work)


def _push(row: sqlite3.Row) -> Push:
    used = max(row["created"], row["used"] or 0.0)
    return Push(read_job(row), used, is_upstream=row["replicate"] == State.DONE, is_busy=row["unpack"] in _BUSY)
