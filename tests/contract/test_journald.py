"""What journald is sent, read as it reads it: systemd's "Native Journal Protocol"."""

import array
import logging
import mmap
import os
import socket
import struct
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
import structlog

from mirror.runtime import journald
from mirror.runtime.telemetry import configure_logging

_F_GET_SEALS = 1034


class Journald:
    """Takes entries at a socket, and reads them field by field."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(10)

    def close(self) -> None:
        """Nobody listens any more."""
        self._socket.close()
        self.path.unlink()

    def take(self) -> dict[str, str]:
        """The next entry."""
        size = array.array("i").itemsize
        data, ancillary, _, _ = self._socket.recvmsg(1 << 20, socket.CMSG_SPACE(size))
        if ancillary:
            assert data == b""
            data = _sealed(array.array("i", ancillary[0][2])[0])
        return dict(_fields(data))


def _sealed(descriptor: int) -> bytes:
    import fcntl  # noqa: PLC0415 - for this one constant's sake

    assert fcntl.fcntl(descriptor, _F_GET_SEALS) == 0b1111  # journald refuses what could still change
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:
        data = content[:]
    os.close(descriptor)
    return data


def _fields(data: bytes) -> Iterator[tuple[str, str]]:
    stream = BytesIO(data)
    while line := stream.readline():
        name, is_text, value = line.rstrip(b"\n").partition(b"=")
        if not is_text:
            (length,) = struct.unpack("<Q", stream.read(8))
            value = stream.read(length)
            assert stream.read(1) == b"\n"
        yield name.decode(), value.decode()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journald]:
    journal = Journald(tmp_path / "socket")
    configure_logging("info", "journald", journal.path)
    yield journal
    if journal.path.exists():
        journal.close()
    structlog.reset_defaults()


def test_a_field_for_each_key(journal: Journald) -> None:
    """A line for people, a priority, and all that is known by its name; what is not there is left out."""
    log = structlog.get_logger()
    with structlog.contextvars.bound_contextvars(request="r1"):
        log.warning("task.failed", job=7, image="app:v1", reason="line\nanother = one", chain_id=None, tags=["a"])
    assert journal.take() == {
        "MESSAGE": 'task.failed job=7 image=app:v1 reason=line\nanother = one tags=["a"] request=r1',
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "registry-mirror",
        "EVENT": "task.failed",
        "JOB": "7",
        "IMAGE": "app:v1",
        "REASON": "line\nanother = one",
        "TAGS": '["a"]',
        "REQUEST": "r1",
    }


@pytest.mark.parametrize(("level", "priority"), [("info", "6"), ("error", "3"), ("critical", "2")])
def test_priorities(journal: Journald, level: str, priority: str) -> None:
    """Those of syslog(3)."""
    getattr(structlog.get_logger(), level)("event")
    assert journal.take()["PRIORITY"] == priority


def test_a_crash_and_a_large_entry(journal: Journald) -> None:
    """A traceback is a field of its own; what does not fit into a datagram comes as a sealed file."""
    structlog.get_logger().error("http.failed", exc_info=ValueError("x" * 300_000))
    entry = journal.take()
    assert entry["MESSAGE"] == "http.failed"
    assert entry["EXCEPTION"].startswith("ValueError")
    assert len(entry["EXCEPTION"]) > 300_000


def test_what_libraries_log(journal: Journald) -> None:
    """It takes the same form."""
    logging.getLogger("some.library").warning("tränenreich: %s", "Bearer abcdefghiJ")
    entry = journal.take()
    assert (entry["MESSAGE"], entry["PRIORITY"]) == ("tränenreich: Bearer ***", "4")


def test_journald_does_not_keep_up(journal: Journald) -> None:
    """Nothing waits for it; how much was lost is told when it takes entries again."""
    log = structlog.get_logger()
    for number in range(2000):
        log.info("event", number=number)
    taken = [journal.take()["NUMBER"] for _ in range(5)]
    assert taken == ["0", "1", "2", "3", "4"]
    log.info("event", number="last")
    entries = iter(journal.take, {})
    lost = next(entry for entry in entries if entry["EVENT"] == "journal.lost")
    assert 0 < int(lost["ENTRIES"]) < 2000
    assert journal.take()["NUMBER"] == "last"


def test_nobody_listens(journal: Journald, capsys: pytest.CaptureFixture[str]) -> None:
    """Then entries go to standard error, and back to the journal when it is there again."""
    journal.close()
    structlog.get_logger().info("daemon.ready", version="1")
    assert "EVENT=daemon.ready\n" in capsys.readouterr().err
    again = Journald(journal.path)
    structlog.get_logger().info("daemon.stopped")
    assert again.take()["EVENT"] == "daemon.stopped"
    again.close()


def test_where_standard_error_leads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """To the journal when it is what systemd says; not when somebody has put it elsewhere."""
    with (tmp_path / "stream").open("w") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert journald.is_journal(stream)
        assert not journald.is_journal(sys.__stderr__ or stream)
        monkeypatch.delenv("JOURNAL_STREAM")
        assert not journald.is_journal(stream)
