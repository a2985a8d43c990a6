"""When images were last used: what retention goes by."""

import structlog

from mirror.core.errors import JournalUnavailableError
from mirror.core.ports import Clock, Usage
from mirror.oci.names import Digest, Repository

_log = structlog.get_logger(__name__)


class Uses:
    """Notes uses of images; that one could not be noted is no reason to fail."""

    def __init__(self, usage: Usage, clock: Clock) -> None:
        self._usage = usage
        self._clock = clock

    async def note(self, repository: Repository, digest: Digest) -> None:
        """A manifest of a repository is being used."""
        try:
            await self._usage.note(repository, digest, self._clock.now())
        except JournalUnavailableError as error:
            _log.warning("use.not_noted", repository=str(repository), digest=digest, reason=str(error))
