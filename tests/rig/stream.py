"""A bare TCP stream over a link: what the link and the kernel give, whatever program one has."""

import hashlib
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Thread

from tests.rig.link import Link
from tests.rig.relay import FAR

_PORT = 5000


@contextmanager
def sink(link: Link) -> Iterator[None]:
    """Somebody on the far side who answers each stream with its digest."""
    with link.far.entered():
        server = socket.create_server((FAR, _PORT))
    thread = Thread(target=_serve, args=(server,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def _serve(server: socket.socket) -> None:
    while True:
        try:
            stream, _ = server.accept()
        except OSError:  # that is how it is told to end
            return
        with stream, stream.makefile("rb") as file:
            stream.sendall(hashlib.file_digest(file, "sha256").digest())


def send(link: Link, data: Iterable[bytes]) -> float:
    """Send it all to the sink; returns the seconds until its answer, those until it was connected not included.

    Raises:
        RuntimeError: something else arrived.
    """
    digest = hashlib.sha256()
    with link.near.entered(), socket.create_connection((FAR, _PORT)) as stream:
        began = time.monotonic()
        for chunk in data:
            stream.sendall(chunk)
            digest.update(chunk)
        stream.shutdown(socket.SHUT_WR)
        if stream.recv(digest.digest_size, socket.MSG_WAITALL) != digest.digest():
            raise RuntimeError("what arrived is not what was sent")
        return time.monotonic() - began
