"""A command that says whether an image may be pushed, by its exit status."""

import asyncio
import fcntl
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from io import FileIO

from mirror.core.errors import VerifierUnavailableError
from mirror.core.ports import Candidate
from mirror.verifiers.question import question

_YES, _NO = 0, 1
_MOST_OUTPUT = 64 * 1024
_LONGEST_REASON = 500
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


class CommandVerifier:
    """Implements `mirror.core.ports.Verifier`: the question is on standard input, 0 is yes, 1 is no.

    The first line of its output is the reason; what it complains of is for the log. All three are files in memory and
    no pipes, so that nothing waits for a command that does not read, or for a child of it that keeps its output open.
    What it has started ends with it.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = argv

    async def ask(self, candidate: Candidate) -> str | None:
        """See `Verifier.ask`."""
        with ExitStack() as files:
            told = files.enter_context(_told(question(candidate)))
            said, complaint = (files.enter_context(_room()) for _ in range(2))
            status = await self._run(told, said, complaint)
            if status not in {_YES, _NO}:
                raise self._failure(f"ended with {status}: {_first_line(complaint)}")
            return None if status == _YES else _first_line(said) or "no reason was given"

    async def _run(self, told: FileIO, said: FileIO, complaint: FileIO) -> int:
        process = self._start(told, said, complaint)
        try:
            await _ended(process.pid)
        finally:
            # Nobody has taken its status yet, so its id, and that of its group, are nobody else's.
            os.killpg(process.pid, signal.SIGKILL)
            await _ended(process.pid)
            status = process.wait()
        return status

    def _start(self, told: FileIO, said: FileIO, complaint: FileIO) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(  # noqa: S603 - the operator's own command, without a shell
                self._argv,
                stdin=told,
                stdout=said,
                stderr=complaint,
                cwd="/",
                env=_ENVIRONMENT,
                start_new_session=True,
            )
        except OSError as error:
            raise self._failure(error.strerror or "cannot be run") from error

    def _failure(self, why: str) -> VerifierUnavailableError:
        return VerifierUnavailableError(f"{self._argv[0]}: {why}")


async def _ended(pid: int) -> None:
    """Wait for the end of a child, without taking its status."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    child = os.pidfd_open(pid)
    loop.add_reader(child, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(child)
        os.close(child)


def _memory() -> FileIO:
    return FileIO(os.memfd_create("verifier", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "r+")


def _told(data: bytes) -> FileIO:
    """What a command reads."""
    file = _memory()
    file.write(data)
    file.seek(0)
    return file


def _room() -> FileIO:
    """What a command may write: so much, and every write beyond it fails (F_SEAL_GROW, fcntl(2))."""
    file = _memory()
    file.truncate(_MOST_OUTPUT)
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)
    return file


def _first_line(output: FileIO) -> str:
    text = os.pread(output.fileno(), _MOST_OUTPUT, 0).rstrip(b"\0").decode(errors="replace").strip()
    return text.partition("\n")[0][:_LONGEST_REASON].rstrip()
