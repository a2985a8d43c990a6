"""The clock: by the upstreams, and by what the kernel knows of it."""

import ctypes
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from functools import partial

from mirror.cli.doctor.checks import Check, Finding, broken, hint, ok, skipped, warning
from mirror.cli.doctor.upstream import UpstreamChecks

_WRONG = 180.0
_OFF = 30.0
# adjtimex(2): what it answers while nobody sets the clock, and room enough for `struct timex` everywhere.
_TIME_ERROR = 5
_ROOM = 512
_REMEDY = "set the clock of whichever is wrong: timedatectl; systemctl status systemd-timesyncd chrony"


class ClockChecks:
    """This host's time of day against that of each upstream."""

    def __init__(self, upstreams: Sequence[UpstreamChecks]) -> None:
        self._upstreams = upstreams

    def checks(self) -> list[Check]:
        """One for each upstream, as soon as that has answered."""
        return [
            Check("clock.upstream", partial(_compared, each), each.name, needs=[each.key("answers")])
            for each in self._upstreams
        ]


def _compared(upstream: UpstreamChecks) -> Finding:
    """Whether both have the same time, as tokens and certificates need it."""
    said = upstream.greeting.headers.get("Date", "") if upstream.greeting else ""
    try:
        theirs = parsedate_to_datetime(said).timestamp()
    except ValueError:
        return skipped("it does not say what time it is")
    ahead = upstream.greeted - theirs
    seen = f"this host's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the upstream's"
    if abs(ahead) > _WRONG:
        return broken(f"{seen}: tokens and certificates are refused", _REMEDY)
    return warning(seen, _REMEDY) if abs(ahead) > _OFF else ok("this host and the upstream have the same time")


def synchronised_check() -> Check:
    """Whether something keeps the clock right: a hint, as others may do it in a way that the kernel does not see."""
    return Check("clock.synchronised", _synchronised)


def _synchronised() -> Finding:
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_ROOM))
    if state < 0:
        return skipped("the kernel does not tell")
    if state == _TIME_ERROR:
        return hint("nothing keeps the clock right", "timedatectl set-ntp true, or run chrony")
    return ok("it is kept right")
