"""What a benchmark says that a process took is what it took."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.measure import CLIENT, Usage
from tests.rig.process import Process
from tests.rig.until import until

MIB = 1 << 20
SERVER = """
import subprocess, sys, time
from pathlib import Path

def start(seconds):
    work = f"import time\\nwhile time.process_time() < {seconds}: pass\\nprint(flush=True)\\ninput()"
    child = subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    return child

before = b"x" * (300 << 20)
del before
Path("ready").touch()
while not Path("go").exists():
    time.sleep(0.01)
meanwhile = b"x" * (100 << 20)
start(0.2).communicate(b"end")
stays = start(0.3)
Path("done").touch()
stays.wait()
"""
CLIENT_PROGRAM = "import time\nmemory = b'x' * (200 << 20)\nwhile time.process_time() < 0.4: pass"


class Server(Process):
    """One that works when it is told to, with a child that ends and another that stays."""

    name = "server"

    def command(self) -> list[str]:
        """Start it."""
        return [sys.executable, "-c", SERVER]

    def is_ready(self) -> bool:
        """Whether it has had more memory than it will need again."""
        return (self.directory / "ready").exists()

    def work(self) -> None:
        """Let it work, and return when it has."""
        (self.directory / "go").touch()
        until((self.directory / "done").exists, "the server has worked", 60.0)


@pytest.fixture
def server(directory: Path) -> Iterator[Server]:
    """One that is ready."""
    with Server(directory) as server:
        yield server


def test_a_server(server: Server) -> None:
    """Its children count, those that have ended too; its peak is that of the time, and not one from before."""
    with Usage({"server": server}) as usage:
        server.work()
    assert 0.5 <= usage.figure.processor["server"] < 5
    assert 100 * MIB <= usage.figure.peak["server"] < 200 * MIB


def test_a_client(server: Server) -> None:
    """What is started counts as the client's, and what any server does meanwhile does not."""
    with Usage({}) as usage:
        server.work()
        subprocess.run([sys.executable, "-c", CLIENT_PROGRAM], check=True)
    assert usage.figure.seconds > 0
    assert usage.figure.processor.keys() == usage.figure.peak.keys() == {CLIENT}
    assert 0.4 <= usage.figure.processor[CLIENT] < 5
    assert 200 * MIB <= usage.figure.peak[CLIENT] < 250 * MIB


def test_no_client(server: Server) -> None:
    """Where nothing is started there is no peak of it."""
    with Usage({"server": server}) as usage:
        server.work()
    assert usage.figure.peak.keys() == {"server"}
