"""A long link between two networks of its own, for what a test or a benchmark wants to be far away.

It needs neither `tc netem`, which many kernels lack, nor anything of the machine's own network. Both ends are
namespaces without a name, and the devices in them last as long as the relay: whoever dies leaves nothing behind.
"""

import socket
import sys
from pathlib import Path
from typing import Self

from tests.rig.namespace import Namespace
from tests.rig.process import Process
from tests.rig.registry import Registry
from tests.rig.relay import FAR

MBIT = 10**6
"""In bits per second."""

# The buffers of a Linux that nobody has tuned, and no connection that begins with what an earlier one has learned.
_UNTUNED = {
    "tcp_rmem": "4096 131072 6291456",
    "tcp_wmem": "4096 16384 4194304",
    "tcp_no_metrics_save": "1",
}
_DISCARD = 9


class Link(Process):
    """A link between the namespaces `near` and `far`, and the same in both directions.

    `round_trip` is in seconds, half of it each way; `rate` in bits per second; `loss` the share of packets that chance
    takes. What does not fit waits, up to a round trip: that is as much as one connection needs to fill the link.
    """

    name = "link"

    def __init__(self, directory: Path, *, round_trip: float, rate: float, loss: float = 0.0) -> None:
        super().__init__(directory)
        self.near, self.far = Namespace(), Namespace()
        self._like = (round_trip / 2, rate, loss, round_trip)
        for end in (self.near, self.far):
            end.set(**_UNTUNED)

    def command(self) -> list[str]:
        """Start the relay."""
        return [sys.executable, "-m", "tests.rig.relay", self.near.path, self.far.path, *map(str, self._like)]

    def is_ready(self) -> bool:
        """Whether the far end answers: that nobody listens there."""
        with self.near.entered(), socket.socket() as probe:
            probe.settimeout(1 + 2 * self._like[0])
            try:
                probe.connect((FAR, _DISCARD))
            except ConnectionRefusedError:
                return True
            except OSError:
                return False
            return True

    def close(self) -> None:
        """End the relay, and let go of both ends."""
        super().close()
        self.near.close()
        self.far.close()


class FarRegistry(Registry):
    """A registry at the far end of a link."""

    def __init__(self, directory: Path, link: Link) -> None:
        super().__init__(directory, address=FAR)
        self._link = link

    def start(self, *, foreground: bool = False) -> Self:
        """Start it there."""
        with self._link.far.entered():
            return super().start(foreground=foreground)
