"""Reading the settings again while the daemon runs: what can change does, what cannot is said."""

from pathlib import Path

import structlog

from mirror import config
from mirror.app.changes import changed, merged
from mirror.app.daemon import Daemon
from mirror.app.listeners import Listeners
from mirror.app.secrets import located
from mirror.runtime import systemd
from mirror.runtime.telemetry import set_level

_log = structlog.get_logger(__name__)


class Reloader:
    """Goes over to what the settings file says now; requests and jobs under way go on."""

    def __init__(
        self, path: Path, settings: config.Settings, secrets: dict[str, Path], daemon: Daemon, listeners: Listeners
    ) -> None:
        self._path = path
        self._secrets = secrets
        self._daemon = daemon
        self._listeners = listeners
        self.settings = settings
        """What counts now."""

    async def reload(self) -> None:
        """Read the file, and change what can change; settings that are bad change nothing."""
        systemd.notify("RELOADING=1", f"MONOTONIC_USEC={self._daemon.clock.monotonic() * 1e6:.0f}")
        try:
            self._reload()
        except config.SettingsError as error:
            _log.error("daemon.reload_refused", reason=str(error))
        finally:
            systemd.notify("READY=1")

    def _reload(self) -> None:
        """All that can fail comes before the first change. Raises SettingsError."""
        read = located(config.load(self._path), self._secrets)
        settings = merged(self.settings, read)
        for go_over in (self._listeners.change(settings), self._daemon.change(self.settings, settings)):
            go_over()
        now, later = changed(self.settings, settings), changed(settings, read)
        self.settings = settings
        set_level("info")  # whatever it was, and will be: this is said
        _log.info("daemon.reloaded", changed=now, needs_restart=later)
        set_level(settings.log.level)
