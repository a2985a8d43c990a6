"""The settings: whether they can be read, and what they name for telling callers apart."""

from pathlib import Path

from mirror.app.caveats import caveats
from mirror.app.listeners import Proofs
from mirror.app.secrets import looked_at
from mirror.cli.doctor.checks import Check, Finding, broken, ok, warning
from mirror.cli.doctor.unseen import unseen
from mirror.config import Settings, SettingsError, load
from mirror.runtime.clock import SystemClock

_ELSEWHERE = frozenset({"journal", "listeners"})  # have checks of their own


class SettingsFile:
    """The file; `settings` is None when it cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reason = ""
        self.settings: Settings | None = None
        try:
            self.settings = load(path)
        except SettingsError as error:
            self._reason = str(error)

    def check(self) -> Check:
        """Whether it can be read, is TOML, and has no key or value that is not known."""
        return Check("settings.file", self._look)

    def _look(self) -> Finding:
        if self._reason:
            return broken(self._reason, "registry-mirror config check: it says all that is wrong, and what to do")
        return ok(f"{self._path} can be used")


def caveats_check(settings: Settings) -> Check:
    """Whether they are what can be meant."""

    def look() -> Finding:
        found = [each for each in caveats(settings) if each.path[0] not in _ELSEWHERE]
        if not found:
            return ok("nothing in them is hardly meant")
        seen = "; ".join(f"{each.key}: {each.reason}" for each in found)
        return warning(seen, " ".join(each.advice for each in found))

    return Check("settings.caveats", look)


def identity_check(settings: Settings) -> Check:
    """Whether the files that `[identity]` names can be used."""

    def look() -> Finding:
        try:
            Proofs(looked_at(settings.identity), SystemClock())
        except SettingsError as error:
            return unseen(error) or broken(str(error), "mend the file, or the key of [identity] that names it")
        return ok("callers are not told apart" if settings.is_open else "the files of [identity] can be used")

    return Check("settings.identity", look)
