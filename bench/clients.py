"""The clients, each in a process of its own: the same for every server, and so cheap that they are not the limit."""

import subprocess
import sys
from collections.abc import Sequence

from bench.blobs import Blob


def push(host: str, repository: str, blobs: Sequence[Blob], at_once: int) -> None:
    """Push blobs to `host:port`, so many at a time.

    Raises:
        RuntimeError: with the client's own words.
    """
    _run("pusher", host, repository, str(at_once), told="".join(f"{blob.path} {blob.digest}\n" for blob in blobs))


def read(host: str, repository: str, tag: str, readers: int) -> None:
    """Let so many readers take an image from `host:port` at once.

    Raises:
        RuntimeError: with the client's own words.
    """
    _run("reader", host, repository, tag, str(readers))


def _run(client: str, *arguments: str, told: str = "") -> None:
    command = [sys.executable, "-m", f"bench.{client}", *arguments]
    done = subprocess.run(command, input=told, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the {client} ended with {done.returncode}\n{done.stderr}")
