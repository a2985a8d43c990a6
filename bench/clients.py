"""The clients, each in a process of its own: the same for every server, and so cheap that they are not the limit."""

import subprocess
import sys
from collections.abc import Callable, Sequence

from bench.blobs import Blob

Ready = Callable[[], None]
"""Called when the client has started, and is about to begin."""


def push(host: str, repository: str, blobs: Sequence[Blob], at_once: int, ready: Ready | None = None) -> None:
    """Push blobs to `host:port`, so many at a time.

    Raises:
        RuntimeError: with the client's own words.
    """
    told = "".join(f"{blob.path} {blob.digest}\n" for blob in blobs)
    _run(["pusher", host, repository, str(at_once)], told, ready)


def read(host: str, repository: str, tag: str, readers: int, ready: Ready | None = None) -> None:
    """Let so many readers take an image from `host:port` at once.

    Raises:
        RuntimeError: with the client's own words.
    """
    _run(["reader", host, repository, tag, str(readers)], "", ready)


def _run(client: Sequence[str], told: str, ready: Ready | None) -> None:
    """A client says by a line that it has started, and begins when it has been told everything."""
    command = [sys.executable, "-m", f"bench.{client[0]}", *client[1:]]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout  # noqa: S101 - a pipe, as asked for
        process.stdout.readline()
        if ready:
            ready()
        _, said = process.communicate(told)
    if process.returncode:
        raise RuntimeError(f"the {client[0]} ended with {process.returncode}\n{said}")
