"""A service on a unix socket that says whether an image may be pushed."""

import asyncio
from pathlib import Path

import msgspec

from mirror.core.errors import VerifierUnavailableError
from mirror.core.ports import Candidate
from mirror.verifiers.question import question

_LONGEST_ANSWER = 64 * 1024
_LONGEST_REASON = 500


class _Answer(msgspec.Struct, frozen=True):
    allow: bool
    reason: str = ""


class ServiceVerifier:
    """Implements `mirror.core.ports.Verifier`: a connection for each question, a line of JSON there and one back."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def ask(self, candidate: Candidate) -> str | None:
        """See `Verifier.ask`."""
        try:
            answer = msgspec.json.decode(await self._talk(question(candidate)), type=_Answer)
        except OSError as error:
            raise self._failure(error.strerror or "the connection broke") from error
        except EOFError:
            raise self._failure("it hung up without an answer") from None
        except asyncio.LimitOverrunError:
            raise self._failure(f"its answer has more than {_LONGEST_ANSWER} bytes") from None
        except ValueError as error:
            raise self._failure(f"its answer is not what it should be: {error}") from None
        if answer.allow:
            return None
        return answer.reason[:_LONGEST_REASON] or "no reason was given"

    async def _talk(self, line: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._path, limit=_LONGEST_ANSWER)
        try:
            writer.write(line)
            await writer.drain()
            return await reader.readuntil(b"\n")
        finally:
            writer.transport.abort()  # a close would wait for one that does not read

    def _failure(self, why: str) -> VerifierUnavailableError:
        return VerifierUnavailableError(f"{self._path}: {why}")
