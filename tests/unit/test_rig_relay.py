"""The line of a long link: a delay, a rate, a queue and a chance, and what becomes of segments that come as one."""

import random
import struct
from hashlib import shake_128

import pytest

from tests.rig.relay import Line, Way
from tests.rig.tun import Packet

STEP, HEADERS = 1000, 40
FULL = STEP + HEADERS
RATE = FULL * 8.0
"""One full segment in a second."""
SEQUENCE, IDENTITY = (1 << 32) - STEP, (1 << 16) - 1
FIN, PSH, ACK = 0x01, 0x08, 0x10
PAYLOAD = shake_128(b"payload").digest(3 * STEP + 10)


def packet(payload: bytes = PAYLOAD, *, together: bool = True) -> Packet:
    """Segments of TCP as the kernel hands them over: under one set of headers."""
    about = struct.pack("=BBHHHH", 1, int(together), HEADERS, STEP if together else 0, 20, 16)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, HEADERS + len(payload), IDENTITY, 0, 64, 6, 0, b"near", b"far.")
    tcp = struct.pack("!HHIIBBHHH", 1, 2, SEQUENCE, 0, 5 << 4, ACK | PSH | FIN, 1000, 0, 0)
    return Packet(about + ip + tcp + payload)


def way(*, delay: float = 0.0, rate: float = RATE, loss: float = 0.0, queue: float = 100.0) -> Way:
    """A line that sends one full segment in a second."""
    return Way(Line(delay, rate, loss, queue), random.Random(0))  # noqa: S311 - it must repeat itself


def body(part: Packet) -> bytes:
    """What TCP carries in it."""
    return part.raw[10 + HEADERS :]


def test_each_segment_has_headers_on_the_wire() -> None:
    """What comes as one counts as the packets that it stands for."""
    assert packet().segments() == [FULL, FULL, FULL, HEADERS + 10]
    assert packet(bytes(5), together=False).segments() == [HEADERS + 5]


def test_nothing_is_lost() -> None:
    """What arrives whole is passed on as it is."""
    whole = packet()
    assert [*whole.keep([True] * 4)] == [whole]


def test_segments_around_one_that_is_lost() -> None:
    """What is left has its own sequence numbers, lengths, ids and checksums; only the last one ends the stream."""
    before, after = packet().keep([True, False, True, True])
    assert body(before) + PAYLOAD[STEP : 2 * STEP] + body(after) == PAYLOAD
    for part, number, segments, flags in ((before, 0, 1, ACK), (after, 2, 2, ACK | PSH | FIN)):
        kind, step = struct.unpack_from("=BxxH", part.raw, 1)
        assert (kind, step) == ((1, STEP) if segments > 1 else (0, 0))
        length, identity = struct.unpack_from("!HH", part.raw, 12)
        assert length == len(part.raw) - 10
        assert identity == (IDENTITY + number) % (1 << 16)
        assert sum(struct.unpack_from("!10H", part.raw, 10)) % 0xFFFF == 0
        assert struct.unpack_from("!I", part.raw, 34) == ((SEQUENCE + number * STEP) % (1 << 32),)
        assert part.raw[43] == flags
        assert len(part.segments()) == segments


def test_all_are_lost() -> None:
    """Nothing comes of it."""
    assert [*packet().keep([False] * 4)] == []


def test_a_packet_takes_its_time() -> None:
    """It arrives when its last bit was sent, and a delay later; the next one begins when the line is free."""
    line = way(delay=5.0)
    for _ in range(2):
        line.take(packet(bytes(STEP), together=False), 10.0)
    assert line.next_arrival() == 16.0
    assert [len([*line.arrived(now)]) for now in (15.9, 16.0, 16.9, 17.0)] == [0, 1, 0, 1]
    assert line.next_arrival() == float("inf")


def test_a_line_that_was_idle() -> None:
    """What was not sent while nothing came cannot be caught up with."""
    line = way()
    for now in (1.0, 100.0):
        line.take(packet(bytes(STEP), together=False), now)
    assert len([*line.arrived(100.9)]) == 1


def test_a_full_queue() -> None:
    """What would wait for longer than the queue is long gets lost: the end of what comes as one, too."""
    line = way(queue=1.5)
    line.take(packet(), 0.0)
    [part] = line.arrived(10.0)
    assert body(part) == PAYLOAD[: 2 * STEP]


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.3])
def test_chance(loss: float) -> None:
    """So large a share of the segments is lost."""
    line = way(rate=float("inf"), loss=loss)
    for _ in range(5000):
        line.take(packet(), 0.0)
    arrived = sum(len(part.segments()) for part in line.arrived(0.0))
    assert 1 - arrived / 20000 == pytest.approx(loss, rel=0.1)
