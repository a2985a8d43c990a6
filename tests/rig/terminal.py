"""A command at a terminal: what it prints there, and what a person types."""

import fcntl
import os
import re
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[()][A-Z0-9]|[=>])")
_COLOURS = re.compile(r"\x1b\[(?:[0-9]+;)*3[0-7]m")
_END = 60.0


class Terminal:
    """Runs a command at a pseudo-terminal of its own until it ends, or until the end of the `with`."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 80,
        lines: int = 24,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        # As Ctrl-C needs a controlling terminal; and what is started in the background by a shell ignores it.
        started = ["setsid", "--ctty", "env", "--default-signal=INT", *command]
        env = os.environ | {"TERM": "xterm-256color"} | dict(environment or {})
        self.process = subprocess.Popen(started, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
        os.close(theirs)
        self._printed = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(_END)
        self._reader.join(_END)
        os.close(self._ours)

    def _read(self) -> None:
        try:
            while more := os.read(self._ours, 65536):
                self._printed += more
        except OSError:  # EIO: nobody has the other end any more
            return

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def end(self) -> int:
        """Wait for its end; returns the exit code. All that it printed is known then."""
        code = self.process.wait(_END)
        self._reader.join(_END)
        return code

    @property
    def raw(self) -> str:
        """All that it printed, as it came."""
        return self._printed.decode(errors="replace")

    @property
    def text(self) -> str:
        """The same without what only moves or colours."""
        return _ESCAPES.sub("", self.raw).replace("\r\n", "\n")

    @property
    def is_coloured(self) -> bool:
        """Whether any of it has a colour."""
        return _COLOURS.search(self.raw) is not None
