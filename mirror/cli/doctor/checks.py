"""What a check is, and what it comes to."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How it is. HINT: it could be better; WARNING: it will be trouble; BROKEN: something that is wanted does not work.

    SKIPPED: it cannot be known, or need not.
    """

    OK = "ok"
    HINT = "hint"
    WARNING = "warning"
    BROKEN = "broken"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen, and what to do: a command, or a key of the settings."""

    verdict: Verdict
    seen: str
    remedy: str = ""


def ok(seen: str) -> Finding:
    """It is as it should be."""
    return Finding(Verdict.OK, seen)


def hint(seen: str, remedy: str) -> Finding:
    """It could be better."""
    return Finding(Verdict.HINT, seen, remedy)


def warning(seen: str, remedy: str) -> Finding:
    """It works, and will be trouble."""
    return Finding(Verdict.WARNING, seen, remedy)


def broken(seen: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(Verdict.BROKEN, seen, remedy)


def skipped(seen: str, remedy: str = "") -> Finding:
    """It cannot be known from here, or there is nothing to know."""
    return Finding(Verdict.SKIPPED, seen, remedy)


Look = Callable[[], Finding | Awaitable[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """Looks at one thing: `name` is `<subject>.<what>`, `about` says which one where there are several.

    A plain function runs on a thread of its own, as it may wait for a disk. `needs` are the keys of the checks without
    whose success it cannot say anything, `after` of those that it only waits for. `seconds` are what it may take.
    """

    name: str
    look: Look
    about: str = ""
    needs: Sequence[str] = ()
    after: Sequence[str] = ()
    seconds: float = 4.0

    @property
    def key(self) -> str:
        """What others call it."""
        return key_of(self.name, self.about)


def key_of(name: str, about: str = "") -> str:
    """What others call a check."""
    return f"{name} {about}".rstrip()


@dataclass(frozen=True, slots=True)
class Result:
    """What a check came to."""

    check: Check
    finding: Finding
