"""How many upload sessions each party has open."""

from mirror.core.fairness import too_many
from mirror.core.ports import UploadRow
from mirror.oci.errors import Problem

_TRY_AGAIN = 60.0


class Sessions:
    """Which sessions are open, by those who began them, each of whom may have `most`.

    The journal is asked once, at the start: from then on all that begins and ends comes by here.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._open: dict[str, set[str]] = {}

    def recall(self, upload: UploadRow) -> None:
        """One of an earlier life is still open."""
        self._open.setdefault(upload.owner, set()).add(upload.id)

    def begin(self, upload: UploadRow) -> None:
        """One more. Raises RegistryError: TOO_MANY_SESSIONS."""
        if len(self._open.get(upload.owner, ())) >= self.most:
            raise too_many(Problem.TOO_MANY_SESSIONS, str(self.most), _TRY_AGAIN)
        self.recall(upload)

    def number(self) -> int:
        """Of all together."""
        return sum(map(len, self._open.values()))

    def end(self, upload: UploadRow) -> None:
        """One less; one that has ended before is no error."""
        ids = self._open.get(upload.owner, set())
        ids.discard(upload.id)
        if not ids:
            self._open.pop(upload.owner, None)
