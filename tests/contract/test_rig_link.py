"""The long link is as long as it says: what benchmarks say about distance depends on it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.rig.link import MBIT, Link
from tests.rig.stream import send, sink
from tests.rig.until import until

MB = 10**6

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")

_PROGRAM = """
import signal, sys
from pathlib import Path
from tests.rig.link import Link
with Link(Path(sys.argv[1]), round_trip=0.0, rate=1e9) as link:
    print(link.pid, flush=True)
    signal.pause()
"""


def test_the_delay(directory: Path) -> None:
    """An answer takes a round trip, and not two."""
    with Link(directory, round_trip=0.5, rate=1000 * MBIT) as link, sink(link):
        took = min(send(link, [b"ping"]) for _ in range(3))
    assert 0.5 <= took < 1.0


@pytest.mark.parametrize("rate", [50 * MBIT, 1000 * MBIT])
def test_the_rate(directory: Path, rate: int) -> None:
    """It carries what it should and no more, be it as much as is ever asked of it."""
    data = os.urandom(rate // 8 * 2)
    with Link(directory, round_trip=0.01, rate=rate) as link, sink(link):
        share = len(data) * 8 / send(link, [data]) / rate
    assert 0.3 < share < 1.0


@pytest.mark.parametrize("loss", [0.005, 0.05])
def test_what_is_lost_is_sent_again(directory: Path, loss: float) -> None:
    """A stream gets through whole, however many of its packets get lost: what is left of them is sound."""
    data = os.urandom(10 * MB)
    with Link(directory, round_trip=0.01, rate=1000 * MBIT, loss=loss) as link, sink(link):
        send(link, [data])


def test_networks_of_their_own(directory: Path) -> None:
    """What listens on one side is not there on the other, nor here: only what is sent over the link gets across."""
    with Link(directory, round_trip=0.0, rate=1000 * MBIT) as link:
        with link.far.entered():
            server = socket.create_server(("127.0.0.1", 0))
        with server:
            for side in (link.near.entered(), _here()):
                with side, pytest.raises(ConnectionRefusedError):
                    socket.create_connection(server.getsockname())


@contextmanager
def _here() -> Iterator[None]:
    yield


def test_a_program_that_dies(directory: Path) -> None:
    """The relay ends with it, and so do the devices and the namespaces that it holds."""
    command = [sys.executable, "-c", _PROGRAM, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        relay = psutil.Process(int(program.stdout.readline()))
        program.send_signal(signal.SIGKILL)
    until(lambda: not relay.is_running() or relay.status() == psutil.STATUS_ZOMBIE, "the relay has ended")
