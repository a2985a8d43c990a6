"""The process in the middle of a long link: it delays packets, loses some, and lets through no more than fit.

`python -m tests.rig.relay NEAR FAR DELAY RATE LOSS QUEUE` has the namespaces of both ends, then the fields of `Line`.
"""

import os
import random
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from tests.rig.namespace import enter
from tests.rig.tun import Packet, Tun

NEAR, FAR = "198.18.0.1", "198.18.0.2"
"""The addresses of the two ends; RFC 2544 keeps them for measurements."""

_DEVICE = "wan0"
_AT_ONCE = 64
_BITS = 8
_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Line:
    """What one direction is like: seconds of delay, bits per second, the share that is lost, seconds of queue."""

    delay: float
    rate: float
    loss: float
    queue: float


@dataclass(slots=True)
class Way:
    """The packets on a line, in their order."""

    line: Line
    chance: random.Random
    _free_at: float = 0.0
    _under_way: deque[tuple[float, Packet]] = field(default_factory=deque)

    def take(self, packet: Packet, now: float) -> None:
        """Send a packet, or as much of it as gets through."""
        kept = [self._is_sent(size, now) and self.chance.random() >= self.line.loss for size in packet.segments()]
        arrival = self._free_at + self.line.delay
        self._under_way.extend((arrival, part) for part in packet.keep(kept))

    def _is_sent(self, size: int, now: float) -> bool:
        """Whether there is room for a segment; it has the line to itself once all before it are sent."""
        begin = max(now, self._free_at)
        if begin - now > self.line.queue:
            return False
        self._free_at = begin + size * _BITS / self.line.rate
        return True

    def arrived(self, now: float) -> Iterator[Packet]:
        """What has come to the other end."""
        while self.next_arrival() <= now:
            yield self._under_way.popleft()[1]

    def next_arrival(self) -> float:
        """When something does."""
        return self._under_way[0][0] if self._under_way else _NEVER


@dataclass(frozen=True, slots=True)
class _Direction:
    way: Way
    source: Tun
    target: Tun

    def take(self) -> None:
        """Take what was sent, so much at once that the other direction has its turn."""
        with suppress(BlockingIOError):
            for _ in range(_AT_ONCE):
                self.way.take(self.source.read(), time.monotonic())

    def deliver(self) -> None:
        for packet in self.way.arrived(time.monotonic()):
            self.target.write(packet)


def _relay(directions: Mapping[Tun, _Direction]) -> None:
    """Pass packets on, by the device that each direction begins at, for ever."""
    while True:
        arrival = min(direction.way.next_arrival() for direction in directions.values())
        wait = None if arrival == _NEVER else max(arrival - time.monotonic(), 0)
        for source in select.select(directions, [], [], wait)[0]:
            directions[source].take()
        for direction in directions.values():
            direction.deliver()


def _end_in(namespace: str, address: str, peer: str) -> Tun:
    """One end of the link: a device in a namespace, with its address."""
    handle = os.open(namespace, os.O_RDONLY)
    enter(handle)
    os.close(handle)
    device = Tun(_DEVICE)
    for command in (f"address add {address} peer {peer} dev {_DEVICE}", f"link set {_DEVICE} up", "link set lo up"):
        subprocess.run(["ip", *command.split()], check=True)
    return device


def main(near: str, far: str, *fields: str) -> None:
    """Be the link between two namespaces."""
    # Ahead of all else on this machine: a real link does not wait for a processor.
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    line = Line(*map(float, fields))
    here, there = _end_in(near, NEAR, FAR), _end_in(far, FAR, NEAR)
    out, back = (Way(line, random.Random(seed)) for seed in range(2))  # noqa: S311 - it must repeat itself
    _relay({here: _Direction(out, here, there), there: _Direction(back, there, here)})


if __name__ == "__main__":
    main(*sys.argv[1:])
