"""How long a verifier may take, and how many questions it is asked at once."""

import asyncio

from mirror.core.errors import VerifierUnavailableError
from mirror.core.ports import Candidate, Verifier

_AT_ONCE = 4


class BoundedVerifier:
    """Implements `mirror.core.ports.Verifier` by asking another one, for at most `seconds`.

    Those count from when a push wants to ask, so that behind a verifier that hangs none waits for longer than that.
    """

    def __init__(self, verifier: Verifier, seconds: float) -> None:
        self._verifier = verifier
        self._seconds = seconds
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def ask(self, candidate: Candidate) -> str | None:
        """See `Verifier.ask`."""
        try:
            async with asyncio.timeout(self._seconds), self._slots:
                return await self._verifier.ask(candidate)
        except TimeoutError:
            raise VerifierUnavailableError(f"no answer within {self._seconds:g} s") from None
