"""What systemd and we tell each other: sd_notify(3), sd_listen_fds(3); without it nothing happens."""

import os
import select
import socket
from collections.abc import Sequence
from dataclasses import dataclass

_FIRST_PASSED = 3
_BARRIER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Passed:
    """A descriptor that systemd has opened or kept for us, under the name that it has in the unit."""

    name: str
    descriptor: int


def notify(*lines: str, descriptors: Sequence[int] = ()) -> None:
    """Send a message of lines such as `READY=1`, with descriptors, to the socket that NOTIFY_SOCKET names."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # the abstract namespace, written by systemd with an @
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect(address)
        socket.send_fds(channel, ["\n".join(lines).encode()], descriptors)


def barrier() -> None:
    """Wait until systemd has done all that it was told so far (sd_notify_barrier(3)), for a few seconds at most."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        notify("BARRIER=1", descriptors=[writing])
    finally:
        os.close(writing)
    try:  # that end is closed everywhere once the message was dealt with
        poll = select.poll()
        poll.register(reading, 0)
        poll.poll(_BARRIER_SECONDS * 1000)
    finally:
        os.close(reading)


def passed() -> list[Passed]:
    """What systemd has passed to this very process; asked a second time, nothing.

    No child inherits it, and none finds the variables by which it would believe that it does.
    """
    is_ours = os.environ.pop("LISTEN_PID", "") == str(os.getpid())
    number = os.environ.pop("LISTEN_FDS", "")
    names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
    if not is_ours or not number.isdecimal():
        return []
    descriptors = range(_FIRST_PASSED, _FIRST_PASSED + int(number))
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return [Passed(names[at] if at < len(names) else "", descriptor) for at, descriptor in enumerate(descriptors)]
