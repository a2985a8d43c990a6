"""How busy the processors are with what others do, behind what the rules are given."""

import time
from pathlib import Path

_STAT = Path("/proc/stat")
_EVERY = 1.0
_NICE, _IDLE, _IOWAIT = 1, 3, 4
_COLUMNS = 8  # those that follow are part of the first two


class Processors:
    """The share of this machine's processors that is in use by what is not nice, over the last second or more.

    Before there was one, it is that since the machine was booted.

    Source: proc(5), /proc/stat.
    """

    def __init__(self) -> None:
        self._read = time.monotonic()
        used, of = self._before = _ticks()
        self._share = used / of if of else 0.0  # since the machine was booted

    def share(self) -> float:
        """From 0 to 1; 0 where the kernel does not tell."""
        now = time.monotonic()
        if now - self._read >= _EVERY:
            self._read = now
            used, of = _ticks()
            used_before, of_before = self._before
            if of > of_before:
                self._share = (used - used_before) / (of - of_before)
            self._before = used, of
        return self._share


def _ticks() -> tuple[int, int]:
    """What was used since the machine was booted, and what there was, in ticks of all processors together."""
    try:
        columns = [int(word) for word in _STAT.read_text().partition("\n")[0].split()[1:][:_COLUMNS]]
    except OSError:
        return 0, 0
    free = columns[_NICE] + columns[_IDLE] + columns[_IOWAIT]
    return sum(columns) - free, sum(columns)
