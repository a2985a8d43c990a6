"""Packets of a TUN device, in which many segments of one TCP connection may come as one.

Source: the kernel's Documentation/networking/tuntap.rst; virtio 1.2, section 5.1.6 (the header); RFC 791; RFC 9293.
"""

import fcntl
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

_DEVICE = "/dev/net/tun"
_SET_DEVICE, _SET_OFFLOAD = 0x400454CA, 0x400454D0
_TUN, _NO_PACKET_INFORMATION, _WITH_HEADER = 0x0001, 0x1000, 0x4000
_CHECKSUMS, _TCP4_SEGMENTATION = 0x01, 0x02
# Flags, kind of segmentation, length of the headers, payload of a segment, where a checksum begins, and where it goes.
_HEADER = struct.Struct("=BBHHHH")
_LARGEST = _HEADER.size + (1 << 16)
_PUSH_AND_FIN = 0x09


@dataclass(frozen=True, slots=True)
class Packet:
    """What was read from a device, as it is to be written to one: a header about it, then IP.

    The kernel hands over up to 64 KiB of a connection under one set of IP and TCP headers, and says how much of it each
    segment is to carry. It takes them back in the same way. So a relay in Python keeps up with a fast link.
    """

    raw: bytes

    @property
    def _step(self) -> int:
        """Bytes of payload in each segment; 0 if there is but one."""
        _, kind, _, step, _, _ = _HEADER.unpack_from(self.raw)
        return step if kind else 0

    @property
    def _payload(self) -> int:
        """Where the payload of TCP begins."""
        tcp = self._tcp
        return tcp + 4 * (self.raw[tcp + 12] >> 4)

    @property
    def _tcp(self) -> int:
        """Where the header of TCP begins."""
        return _HEADER.size + 4 * (self.raw[_HEADER.size] & 0x0F)

    def segments(self) -> list[int]:
        """The bytes of each packet that it is on a wire, headers included."""
        step = self._step
        if not step:
            return [len(self.raw) - _HEADER.size]
        headers, payload = self._payload - _HEADER.size, len(self.raw) - self._payload
        return [headers + min(step, payload - start) for start in range(0, payload, step)]

    def keep(self, kept: Sequence[bool]) -> Iterator["Packet"]:
        """What arrives of it when each segment is `kept` or not: a packet for each row of those that are."""
        if all(kept):
            yield self
            return
        for is_kept, row in groupby(range(len(kept)), key=kept.__getitem__):
            if is_kept:
                places = [*row]
                yield self._part(places[0], places[-1] + 1, last=places[-1] + 1 == len(kept))

    def _part(self, first: int, end: int, *, last: bool) -> "Packet":
        """Some of its segments, under headers of their own.

        The checksum of TCP is left as it is: it stands for nothing yet, and the receiver is told not to look at it.
        """
        step, payload, tcp = self._step, self._payload, self._tcp
        body = self.raw[payload + first * step : payload + end * step]
        head = bytearray(self.raw[:payload])
        if end - first == 1:
            struct.pack_into("=BHH", head, 1, 0, 0, 0)
        _shorten(memoryview(head)[_HEADER.size : tcp], len(head) - _HEADER.size + len(body), first)
        [sequence] = struct.unpack_from("!I", head, tcp + 4)
        struct.pack_into("!I", head, tcp + 4, (sequence + first * step) % (1 << 32))
        if not last:
            head[tcp + 13] &= ~_PUSH_AND_FIN
        return Packet(bytes(head) + body)


def _shorten(ip: memoryview, length: int, number: int) -> None:
    """Give an IP header another length, the id of the segment with this number, and its checksum."""
    [identity] = struct.unpack_from("!H", ip, 4)
    struct.pack_into("!HH", ip, 2, length, (identity + number) % (1 << 16))
    struct.pack_into("!H", ip, 10, 0)
    total = sum(struct.unpack(f"!{len(ip) // 2}H", ip))
    total = (total & 0xFFFF) + (total >> 16)
    struct.pack_into("!H", ip, 10, ~(total + (total >> 16)) & 0xFFFF)


class Tun:
    """A device of the namespace that this thread is in, which is gone when it is closed."""

    def __init__(self, name: str) -> None:
        self._handle = os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK)
        flags = _TUN | _NO_PACKET_INFORMATION | _WITH_HEADER
        fcntl.ioctl(self._handle, _SET_DEVICE, struct.pack("16sH22x", name.encode(), flags))
        fcntl.ioctl(self._handle, _SET_OFFLOAD, _CHECKSUMS | _TCP4_SEGMENTATION)

    def fileno(self) -> int:
        """For `select`."""
        return self._handle

    def read(self) -> Packet:
        """The next packet that was sent into it. Raises BlockingIOError: there is none."""
        return Packet(os.read(self._handle, _LARGEST))

    def write(self, packet: Packet) -> None:
        """Have a packet come out of it."""
        os.write(self._handle, packet.raw)
