"""Free ports of the loopback."""

import random
import socket
from collections.abc import Iterator
from contextlib import suppress

# Linux gives outgoing connections those from 32768 on: one of them could be taken before its server listens on it,
# or while that is down.
_OURS = range(10_000, 32_768)


def free_port() -> int:
    """A TCP port on which nothing listens now, and that no outgoing connection is given."""
    return next(_free_ports())


def _free_ports() -> Iterator[int]:
    while True:
        port = random.choice(_OURS)  # noqa: S311 - it need not be secret
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            yield port
