"""One real program as a child: started until it is ready, ended by its own process id."""

import os
import signal
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import psutil

from tests.rig.until import until

_TAIL = 30


class Process(ABC):
    """A program that owns `directory`, logs to a file in it and can be started again on what it left there."""

    name: ClassVar[str]
    deadline: ClassVar[float] = 60.0
    """Seconds for becoming ready, and again for ending after SIGTERM."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.log = directory / f"{self.name}.log"
        self.environment: dict[str, str] = {}
        """What it gets beside what is in our own."""
        self.inherited: tuple[int, ...] = ()
        """Descriptors that it inherits."""
        self._child: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """The command line."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether the running program does its work."""

    @property
    def pid(self) -> int:
        """The id of the running process."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._child is not None and self._child.poll() is None

    def start(self, *, foreground: bool = False) -> Self:
        """Start it and wait until it is ready; in the `foreground` it prints where we do, not to its log.

        Raises:
            RuntimeError: it ended, or was not ready in time; with the end of its log.
        """
        # Its own session keeps a terminal's Ctrl-C from it: we end it, in order. setpriv: if we die, so does it.
        command = ["setpriv", "--pdeathsig", "KILL", *self.command()]
        with self.log.open("ab") as log:
            output = None if foreground else log
            self._child = subprocess.Popen(
                command,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=os.environ | self.environment,
                pass_fds=self.inherited,
            )
        try:
            until(lambda: not self.is_running or self.is_ready(), f"{self.name} is ready", self.deadline)
        except TimeoutError as error:
            self.kill()
            raise RuntimeError(f"{error}\n{self.log_tail()}") from error
        if not self.is_running:
            raise RuntimeError(f"{self.name} ended with {self._child.returncode}\n{self.log_tail()}")
        return self

    def stop(self) -> int:
        """Ask it to end, kill it if it does not, and return its exit status (negative: the signal that ended it)."""
        if not self.is_running:
            return 0 if self._child is None else self._child.returncode
        self.resume()
        os.kill(self.pid, signal.SIGTERM)
        try:
            return self._running().wait(self.deadline)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """End it as a power cut would; return its exit status."""
        os.kill(self.pid, signal.SIGKILL)
        return self._running().wait()

    def join(self) -> int:
        """Wait until it ends by itself; return its exit status."""
        return self._running().wait()

    def pause(self) -> None:
        """Let it hang: alive, its sockets open, and no answer from it."""
        os.kill(self.pid, signal.SIGSTOP)
        threads = Path(f"/proc/{self.pid}/task")
        until(lambda: all(_is_stopped(thread) for thread in threads.iterdir()), f"{self.name} stands still")

    def resume(self) -> None:
        """End a pause."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Stop it and take away what would outlive it."""
        self.stop()

    def peak_memory(self) -> int:
        """The most resident memory it has had since it started, in bytes."""
        status = dict(line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines())
        return int(status["VmHWM"].removesuffix("kB")) * 1024

    def processor_time(self) -> float:
        """The seconds of processor time that it has had since it started."""
        times = psutil.Process(self.pid).cpu_times()
        return times.user + times.system

    def log_tail(self) -> str:
        """The last lines of its log, for people."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([f"--- {self.name}, the end of its log", *lines[-_TAIL:]])

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._child

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop it and take away what would outlive it."""
        self.close()


def _is_stopped(thread: Path) -> bool:
    """Whether a thread has come to a stop, which may take it a moment."""
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0] in {"T", "t"}
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        return True
