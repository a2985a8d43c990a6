"""Blobs on their way out: by the kernel from the files of the store, or streamed where the daemon does not see them."""

import os
import secrets
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from pathlib import Path

import psutil
import pytest

from tests.conftest import UPSTREAM
from tests.rig.containerd import Containerd
from tests.rig.daemon import Daemon
from tests.rig.registry import Registry
from tests.rig.until import until
from tests.rig.wire import Wire, digest_of

LARGE = 64 * 1024 * 1024
"""More than two sockets hold."""
SIZE = 20_000_000
READERS = 50
REPOSITORY = "team/pulled"


class Blind(Daemon):
    """A daemon that sees an empty directory in the place of the content store."""

    def __init__(self, directory: Path, containerd: Containerd, upstream: str) -> None:
        super().__init__(directory, containerd.address, {UPSTREAM: upstream})
        self._hidden = str(containerd.store)

    def command(self) -> list[str]:
        """Start it with mounts of its own."""
        room = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
        return [*room, 'mount -t tmpfs tmpfs "$0" && exec "$@"', self._hidden, *super().command()]


@pytest.fixture(scope="module", params=["seeing", "blind"])
def any_daemon(
    request: pytest.FixtureRequest, scratch: Path, containerd: Containerd, upstream: Registry
) -> Iterator[Daemon]:
    """The daemon, and one that can only stream."""
    if request.param == "seeing":
        yield request.getfixturevalue("daemon")
        return
    with Blind(Path(tempfile.mkdtemp(dir=scratch)), containerd, upstream.url) as daemon:
        yield daemon
    assert not daemon.complaints()


def address(digest: str) -> str:
    return f"/v2/{REPOSITORY}/blobs/{digest}"


def served(daemon: Daemon, containerd: Containerd) -> list[str]:
    """The files of the store that a daemon has open."""
    files = psutil.Process(daemon.pid).open_files()
    return [file.path for file in files if Path(file.path).is_relative_to(containerd.store)]


@pytest.fixture(scope="module")
def data(any_daemon: Daemon) -> bytes:
    """A blob of the daemon."""
    data = secrets.token_bytes(SIZE)
    Wire(any_daemon.url).push_blob(REPOSITORY, data)
    return data


@contextmanager
def reading(wire: Wire, digest: str) -> Iterator[HTTPResponse]:
    """Begin to read a blob, and read no more than the headers; whoever leaves hangs up."""
    with closing(wire.stream(address(digest), {})) as answer:
        assert answer.status == 200
        yield answer


def test_a_small_blob(any_daemon: Daemon) -> None:
    """No bytes are a body too."""
    wire = Wire(any_daemon.url)
    for data in (b"", b"a", secrets.token_bytes(1000)):
        answer = wire.ask("GET", address(wire.push_blob(REPOSITORY, data)))
        assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, data, str(len(data)))


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("0-0", range(1)),
        ("1-300000", range(1, 300_001)),
        ("5-17000000", range(5, 17_000_001)),
        ("19000000-", range(19_000_000, SIZE)),
        ("-262145", range(SIZE - 262_145, SIZE)),
        (f"0-{SIZE}", range(SIZE)),
    ],
)
def test_a_part(any_daemon: Daemon, data: bytes, asked: str, part: range) -> None:
    """Exactly what was asked for, with the same headers whichever way it goes."""
    digest = digest_of(data)
    answer = Wire(any_daemon.url).ask("GET", address(digest), headers={"Range": f"bytes={asked}"})
    assert (answer.status, answer.body) == (206, data[part.start : part.stop])
    assert answer.headers["Content-Range"] == f"bytes {part.start}-{part.stop - 1}/{SIZE}"
    assert answer.headers["Content-Length"] == str(len(part))
    assert answer.headers["Etag"] == f'"{digest}"'
    assert answer.headers["Content-Type"] == "application/octet-stream"


def test_many_at_once(any_daemon: Daemon, data: bytes) -> None:
    """Each of fifty readers gets all of it."""
    wire, digest = Wire(any_daemon.url), digest_of(data)
    with ThreadPoolExecutor(READERS) as readers:
        found = readers.map(lambda _: digest_of(wire.ask("GET", address(digest)).body), range(READERS))
        assert list(found) == [digest] * READERS


def test_a_connection_goes_on(any_daemon: Daemon, data: bytes) -> None:
    """After a blob the next request on the same connection is answered."""
    with closing(HTTPConnection(any_daemon.host)) as connection:
        for _ in range(3):
            connection.request("GET", address(digest_of(data)))
            assert connection.getresponse().read() == data


def test_a_file_that_was_cut(any_daemon: Daemon, containerd: Containerd) -> None:
    """What is damaged is not served as if it were short: the client learns that it is not all, and so does the log."""
    wire = Wire(any_daemon.url)
    digest = wire.push_blob(REPOSITORY, secrets.token_bytes(SIZE))
    os.truncate(containerd.blob(digest), SIZE - 1)
    with pytest.raises(IncompleteRead):
        wire.ask("GET", address(digest))
    assert any(line["event"] == "content.short" and line["digest"] == digest for line in any_daemon.log_lines())
    assert wire.ask("GET", address(digest), headers={"Range": "bytes=0-9"}).status == 206


def test_a_file_that_is_cut_meanwhile(wire: Wire, containerd: Containerd) -> None:
    """The same in the middle of an answer."""
    digest = wire.push_blob(REPOSITORY, secrets.token_bytes(LARGE))
    with reading(wire, digest) as answer:
        os.truncate(containerd.blob(digest), LARGE - 1)
        with pytest.raises(IncompleteRead):
            answer.read()


def test_a_file_that_is_removed_meanwhile(wire: Wire, containerd: Containerd) -> None:
    """Who has begun to read a blob gets all of it, and nobody after."""
    data = secrets.token_bytes(LARGE)
    digest = wire.push_blob(REPOSITORY, data)
    with reading(wire, digest) as answer:
        containerd.blob(digest).unlink()
        assert answer.read() == data
    with pytest.raises(IncompleteRead):
        wire.ask("GET", address(digest))


def test_clients_that_leave(wire: Wire, daemon: Daemon, containerd: Containerd) -> None:
    """No file stays open for them."""
    digest = wire.push_blob(REPOSITORY, secrets.token_bytes(LARGE))
    until(lambda: _is_sent(daemon, digest), "it is upstream")
    for _ in range(5):
        with reading(wire, digest):
            assert served(daemon, containerd) == [str(containerd.blob(digest))]
        until(lambda: not served(daemon, containerd), "the file is closed")


def test_a_shutdown_in_the_middle(scratch: Path, containerd: Containerd, upstream: Registry) -> None:
    """It waits until the blob is out."""
    data = secrets.token_bytes(LARGE)
    directory = Path(tempfile.mkdtemp(dir=scratch))
    with Daemon(directory, containerd.address, {UPSTREAM: upstream.url}) as daemon:
        wire = Wire(daemon.url)
        with reading(wire, wire.push_blob(REPOSITORY, data)) as answer:
            os.kill(daemon.pid, signal.SIGTERM)
            until(lambda: _refuses(wire), "it takes no more requests")
            assert answer.read() == data
        assert daemon.join() == 0


def _refuses(wire: Wire) -> bool:
    try:
        wire.ask("GET", "/v2/")
    except ConnectionError:
        return True
    return False


def _is_sent(daemon: Daemon, digest: str) -> bool:
    """Whether the daemon itself has no more to do with a blob."""
    return any(line["event"] == "blob.sent" and line["blob"] == digest for line in daemon.log_lines())
