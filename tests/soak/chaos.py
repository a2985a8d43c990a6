"""What is done to the parts while they work, drawn from the seed; after each step everything is up again."""

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event

from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.faults import Cut, CutAnswer, Delay, Fault, Reply, Stall
from tests.rig.process import Process
from tests.rig.proxy import Proxy
from tests.rig.registry import Registry

_log = logging.getLogger(__name__)
_LONGEST_PAUSE = 3.0
_LARGEST_CUT = 5_000_000


@dataclass(frozen=True)
class Parts:
    """What there is to be hurt."""

    daemon: Daemon
    containerd: Containerd
    registry: Registry
    proxy: Proxy

    @property
    def processes(self) -> Sequence[Process]:
        """Those that can be killed and paused."""
        return (self.daemon, self.containerd, self.registry)


class Chaos:
    """Steps until `stop`, with pauses between them. Raises AssertionError when a part has ended by itself."""

    def __init__(self, seed: int, parts: Parts, stop: Event) -> None:
        self._chance = random.Random(f"{seed}/chaos")  # noqa: S311 - it must repeat itself
        self._parts = parts
        self._over = stop
        self._kinds: Sequence[Callable[[], None]] = (
            self._kill,
            self._pause,
            self._break,
            self._cut_all,
            self._collect_garbage,
            self._remove_image,
        )

    def run(self) -> None:
        """One step after another."""
        while not self._over.is_set():
            self._over.wait(self._seconds())
            self._chance.choice(self._kinds)()
            dead = [part.name for part in self._parts.processes if not part.is_running]
            assert not dead, f"ended by themselves: {dead}"

    def _kill(self) -> None:
        """Kill one, two or all, and start them in any order."""
        victims = self._victims("kill")
        for part in victims:
            part.kill()
        self._over.wait(self._seconds())
        for part in self._chance.sample(victims, len(victims)):
            part.start()

    def _pause(self) -> None:
        """Let one, two or all hang for a while."""
        victims = self._victims("pause")
        for part in victims:
            part.pause()
        self._over.wait(self._seconds())
        for part in victims:
            part.resume()

    def _victims(self, what: str) -> Sequence[Process]:
        count = self._chance.choices((1, 2, 3), (8, 2, 1))[0]
        victims = self._chance.sample(self._parts.processes, count)
        _log.info("%s %s", what, ", ".join(part.name for part in victims))
        return victims

    def _break(self) -> None:
        """Let some of the next requests to the upstream meet a fault."""
        fault = self._fault()
        method = self._chance.choice(("PUT|PATCH", "POST", "GET|HEAD", ".*"))
        times = self._chance.randrange(1, 6)
        _log.info("%r for %d of %s", fault, times, method)
        self._parts.proxy.arm(fault, method, times=times)

    def _fault(self) -> Fault:
        after = int(self._chance.random() ** 3 * _LARGEST_CUT)
        seconds = self._chance.uniform(0, _LONGEST_PAUSE)
        faults: Sequence[Fault] = (
            Cut(after),
            CutAnswer(0),
            CutAnswer(after % 1000),
            Stall(after),
            Delay(seconds),
            Reply(500),
            Reply(503, after=after, forward=True),
            Reply(429, {"Retry-After": "1"}, after=0),
            Reply(500, forward=True),
        )
        return self._chance.choice(faults)

    def _cut_all(self) -> None:
        """End all connections to the upstream."""
        _log.info("cut all")
        self._parts.proxy.cut_all()

    def _collect_garbage(self) -> None:
        """Take away what nothing holds."""
        _log.info("collect garbage")
        self._parts.containerd.collect_garbage()

    def _remove_image(self) -> None:
        """Remove some tag's image record, as an operator may."""
        at = self._chance.random()
        tags = sorted(name for name in self._parts.containerd.images() if "@" not in name)
        if tags:
            name = tags[int(at * len(tags))]
            _log.info("remove %s", name)
            self._parts.containerd.ctr("images", "rm", "--sync", name)

    def _seconds(self) -> float:
        return self._chance.uniform(0, _LONGEST_PAUSE)
