"""Upload sessions, so that they outlive the process."""

import sqlite3

from mirror.core.ports import NO_CLAIM, Claim, UploadRow
from mirror.journal.db import Database, Session
from mirror.journal.grants import grant_blob
from mirror.oci.names import Digest, Repository


class UploadsTable:
    """The `Uploads` port on the journal."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, upload: UploadRow) -> None:
        """Record a new session."""
        await self._database.transact(
            lambda session: session.rows(
                "begin_upload",
                id=upload.id,
                registry=upload.repository.registry,
                repository=upload.repository.path,
                touched=upload.touched,
                owner=upload.owner,
            )
        )

    async def find(self, upload_id: str) -> UploadRow | None:
        """The session of this id."""
        row = await self._database.transact(lambda session: session.row("find_upload", id=upload_id))
        return _upload(row) if row else None

    async def touch(self, upload_id: str, now: float) -> None:
        """Note that a request used the session."""
        await self._database.transact(lambda session: session.rows("touch_upload", id=upload_id, touched=now))

    async def end(self, upload_id: str) -> None:
        """Forget a session."""
        await self._database.transact(lambda session: session.rows("end_upload", id=upload_id))

    async def finish(self, upload: UploadRow, digest: Digest, lease: str, claim: Claim = NO_CLAIM) -> str | None:
        """Grant the blob and end the session; returns the lease of an earlier upload of the same blob."""

        def work(session: Session) -> str | None:
            earlier = grant_blob(session, upload.repository, digest, lease, claim)
            session.rows("end_upload", id=upload.id)
            return earlier

        return await self._database.transact(work)

    async def stale(self, before: float) -> list[UploadRow]:
        """The sessions not used since `before`."""
        rows = await self._database.transact(lambda session: session.rows("stale_uploads", before=before))
        return [_upload(row) for row in rows]

    async def ids(self) -> set[str]:
        """All sessions, by id."""
        rows = await self._database.transact(lambda session: session.rows("upload_ids"))
        return {row["id"] for row in rows}


def _upload(row: sqlite3.Row) -> UploadRow:
    return UploadRow(row["id"], Repository(row["registry"], row["repository"]), row["touched"], row["owner"])
