"""The settings: whether they can be read, and what they name for telling callers apart."""

from pathlib import Path

from mirror.app.listeners import Proofs
from mirror.app.secrets import located
from mirror.cli.doctor.checks import Check, Finding, broken, ok
from mirror.cli.doctor.unseen import unseen
from mirror.config import Settings, SettingsError, load
from mirror.runtime.clock import SystemClock


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
            return broken(self._reason, f"mend {self._path}; an example with every setting is systemd/config.toml")
        return ok(f"{self._path} can be used")


def identity_check(settings: Settings) -> Check:
    """Whether the files that `[identity]` names can be used."""

    def look() -> Finding:
        try:
            Proofs(located(settings.identity), SystemClock())
        except SettingsError as error:
            return unseen(error) or broken(str(error), "mend the file, or the key of [identity] that names it")
        return ok("callers are not told apart" if settings.is_open else "the files of [identity] can be used")

    return Check("settings.identity", look)
