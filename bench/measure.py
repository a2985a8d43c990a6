"""What a way takes: time, processor time and memory of each process; and ways that take turns."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Self, TypeVar

import psutil

from tests.rig.process import Process

T = TypeVar("T")

CLIENT = "client"
"""What figures call this program together with the programs that it started for a way."""

_MB = 10**6
_LOOK = 0.05
_MANY_FILES = 1000
_INODES_REST = 61.0
_PAGE = os.sysconf("SC_PAGE_SIZE")
_COMMAND = Path("/proc/self/cmdline").read_bytes()


@dataclass(frozen=True)
class Figure:
    """What one run took: seconds, and by process its seconds of processor time and its peak memory in bytes."""

    seconds: float
    processor: Mapping[str, float]
    peak: Mapping[str, int]


class Usage:
    """Takes a `figure` for the length of a `with` statement.

    `processes` are servers, by their names in the figure: each is to live from beginning to end. What they started
    counts with them, what has ended of it, too. The client's programs count when they have ended; a client in this
    very program has no peak of its own.
    """

    figure: Figure

    def __init__(self, processes: Mapping[str, Process]) -> None:
        self._processes = processes

    def __enter__(self) -> Self:
        """Begin."""
        for process in self._processes.values():
            _forget_peak(process.pid)
        self._clients = _ClientMemory()
        self.begin()
        return self

    def begin(self) -> None:
        """Begin only now: what went before was for the client to start, and counts for nothing but its memory."""
        self._spent = self._processor()
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        """Take the figure."""
        seconds = time.monotonic() - self._began
        spent = {name: now - self._spent[name] for name, now in self._processor().items()}
        client = self._clients.peak()
        peaks = {name: process.peak_memory() for name, process in self._processes.items()}
        self.figure = Figure(seconds, spent, peaks | ({CLIENT: client} if client else {}))

    def _processor(self) -> dict[str, float]:
        spent = {name: _with_children(psutil.Process(process.pid)) for name, process in self._processes.items()}
        return spent | {CLIENT: _processor(psutil.Process())}


def _with_children(process: psutil.Process) -> float:
    return _processor(process) + sum(_processor(child) for child in process.children(recursive=True))


def _processor(process: psutil.Process) -> float:
    """Seconds of processor time of a process and of those children that it has waited for."""
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return times.user + times.system + times.children_user + times.children_system
    return 0.0


def _forget_peak(pid: int) -> None:
    """Have the kernel count the peak of a process's memory from here on (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


class _ClientMemory:
    """Looks again and again at the memory of the programs that are started meanwhile.

    What the kernel keeps of their peaks is of no use: it counts what they had as a copy of this program.
    """

    def __init__(self) -> None:
        self._servers = _children()
        self._peak = 0
        self._over = Event()
        self._watch = Thread(target=self._look, daemon=True)
        self._watch.start()

    def peak(self) -> int:
        """Look no more; returns the most bytes that they had together."""
        self._over.set()
        self._watch.join()
        return self._peak

    def _look(self) -> None:
        while not self._over.wait(_LOOK):
            self._peak = max(self._peak, sum(map(_memory, _children() - self._servers)))


def _children() -> set[int]:
    """The process ids of our children; psutil would look at all processes, which costs more than it may here."""
    children: set[int] = set()
    for listing in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
            children.update(map(int, listing.read_text().split()))
    return children


def _memory(pid: int) -> int:
    """Resident memory in bytes; none of a child that is still a copy of this program."""
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        process = Path(f"/proc/{pid}")
        if (process / "cmdline").read_bytes() != _COMMAND:
            return int((process / "statm").read_text().split()[1]) * _PAGE
    return 0


def alternate(ways: Mapping[str, Callable[[], T]], rounds: int) -> Mapping[str, Sequence[T]]:
    """Take the ways in turn; each round begins with another one, and each way with nothing left to write to the disk.

    Returns: what each way gave, round by round.
    """
    given: dict[str, list[T]] = {name: [] for name in ways}
    order = list(ways)
    for _ in range(rounds):
        for name in order:
            os.sync()
            given[name].append(ways[name]())
        order = [*order[1:], order[0]]
    return given


@contextmanager
def file_room() -> Iterator[Path]:
    """A directory in which rounds make many files. Each leaves its own, which all go at the end.

    ext4 gives out no inode within a minute of its deletion, and who makes files meanwhile pays for each that it passes
    over. So nothing is deleted between rounds, and what comes after them waits for that minute.
    """
    with tempfile.TemporaryDirectory(prefix="mirror-") as directory:
        yield Path(directory)
        free = os.statvfs(tempfile.gettempdir()).f_ffree
    if os.statvfs(tempfile.gettempdir()).f_ffree - free > _MANY_FILES:
        os.sync()
        time.sleep(_INODES_REST)


def take_memory(size: int) -> None:
    """Have the machine give us memory before the clock runs: a virtual one takes a second for a GiB of fresh pages."""
    with tempfile.TemporaryFile() as file:
        for _ in range(0, size, _MB):
            file.write(bytes(_MB))
