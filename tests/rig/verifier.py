"""Who is asked whether an image may be pushed: a command, and a service on a socket."""

import json
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

_SCRIPT = """#!/bin/sh
cat >> "$1/asked"
. "$1/answer"
"""


class VerifyCommand:
    """A command that does what it is told to, a few lines of shell, and keeps what it was asked."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        script = directory / "verify"
        script.write_text(_SCRIPT)
        script.chmod(0o755)
        self.argv = [str(script), str(directory)]
        self.answer("exit 0")

    def answer(self, text: str) -> None:
        """From now on, this."""
        fresh = self._directory / "answer.new"
        fresh.write_text(text)
        fresh.replace(self._directory / "answer")

    def asked(self) -> list[dict[str, Any]]:
        """What it was asked since the last time."""
        asked = self._directory / "asked"
        lines = asked.read_text().splitlines() if asked.exists() else []
        asked.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]


@contextmanager
def verify_service(path: Path, allow: bool) -> Iterator[None]:  # noqa: FBT001 - the answer itself
    """A service that gives everybody the same answer, for as long as it is there; the socket goes with it."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(json.dumps({"allow": allow, "reason": "the service says so"}).encode() + b"\n")

    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            path.unlink()
