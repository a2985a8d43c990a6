"""The body of an upload: streamed, watched over, and with a memory of why it broke."""

import asyncio
from collections.abc import AsyncIterator


class Watchdog:
    """Bounds how long the upstream takes for a piece, and for its answer after the last one; and nothing else."""

    def __init__(self, timeout: asyncio.Timeout, piece: float, answer: float) -> None:
        self._timeout = timeout
        self._piece = piece
        self._answer = answer

    def sending(self) -> None:
        """The upstream was given a piece."""
        self._within(self._piece)

    def reading(self) -> None:
        """It is our turn: what is to be sent next is not here yet, or may not go yet."""
        self._timeout.reschedule(None)

    def answering(self) -> None:
        """The upstream has it all."""
        self._within(self._answer)

    def _within(self, seconds: float) -> None:
        self._timeout.reschedule(asyncio.get_running_loop().time() + seconds)


class Body:
    """A request body whose own failure is kept in `error`: the HTTP client would report it as a lost connection."""

    def __init__(self, data: AsyncIterator[bytes], watchdog: Watchdog) -> None:
        self._data = data
        self._watchdog = watchdog
        self.error: Exception | None = None

    async def read(self) -> AsyncIterator[bytes]:
        """The data, piece by piece."""
        try:
            self._watchdog.reading()
            async for data in self._data:
                self._watchdog.sending()
                yield data
                self._watchdog.reading()
            self._watchdog.answering()
        except Exception as error:  # whatever it is, it is raised on, and by `Transport.send` once more
            self.error = error
            raise
