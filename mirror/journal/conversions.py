"""What layers became when they were compressed anew."""

from mirror.core.ports import Recompressed
from mirror.journal.db import Database, Session
from mirror.oci.names import Digest


class ConversionsTable:
    """The `Conversions` port on the journal; what was noted is kept for 90 days."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, layer: Digest, level: int) -> Recompressed | None:
        """What a layer became as zstd of a level."""
        row = await self._database.transact(lambda session: session.row("find_conversion", layer=layer, level=level))
        return Recompressed(Digest(row["digest"]), row["size"], row["uncompressed"]) if row else None

    async def note(self, layer: Digest, level: int, made: Recompressed, now: float) -> None:
        """A layer was converted."""

        def work(session: Session) -> None:
            session.rows(
                "note_conversion",
                layer=layer,
                level=level,
                digest=made.digest,
                size=made.size,
                uncompressed=made.uncompressed,
                noted=now,
            )

        await self._database.transact(work)
