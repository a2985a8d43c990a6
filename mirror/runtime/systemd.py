"""What systemd is told about us (sd_notify(3)); without systemd nothing happens."""

import os
import socket


def notify(state: str) -> None:
    """Send one state line such as `READY=1` to the socket that systemd named in NOTIFY_SOCKET."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # the abstract namespace, written by systemd with an @
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect(address)
        channel.sendall(state.encode())
