"""A clock that can be set while a program runs: Debian's libfaketime between the program and the C library."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from tests.rig.daemon import Daemon

_LIBRARY = "*/faketime/libfaketimeMT.so.1"


class Clock:
    """How far the time of day of a program is off; its monotonic clock is left alone, as by an operator or NTP."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.set(0)

    def set(self, days: int) -> None:
        """Set it to so many days after the real time, or before it."""
        fresh = self._path.with_suffix(".new")
        fresh.write_text(f"{days:+d}d\n")
        fresh.rename(self._path)

    def environment(self) -> Mapping[str, str]:
        """What a program is to be started with."""
        library = next(Path("/usr/lib").glob(_LIBRARY))
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


class ClockedDaemon(Daemon):
    """The daemon by a clock of its own, which is right until it is set."""

    @cached_property
    def clock(self) -> Clock:
        """Its clock."""
        return Clock(self.directory / "clock")

    def command(self) -> list[str]:
        """Start it by its clock."""
        return ["env", *(f"{name}={value}" for name, value in self.clock.environment().items()), *super().command()]
