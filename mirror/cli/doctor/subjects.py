"""All checks, in the order in which they are told."""

from pathlib import Path

from mirror.cli.doctor.checks import Check
from mirror.cli.doctor.clients import client_checks
from mirror.cli.doctor.clock import ClockChecks, synchronised_check
from mirror.cli.doctor.containerd import ContainerdChecks
from mirror.cli.doctor.daemon import DaemonChecks, unit_check
from mirror.cli.doctor.disk import DiskChecks
from mirror.cli.doctor.host import HostChecks
from mirror.cli.doctor.journal import JournalChecks
from mirror.cli.doctor.listeners import ListenerChecks
from mirror.cli.doctor.settings import SettingsFile, caveats_check, identity_check
from mirror.cli.doctor.upstream import UpstreamChecks
from mirror.config import Settings
from mirror.oci.names import Repository, split_image

# What others depend on comes before them.
_ORDER = (
    "settings",
    "daemon",
    "listener",
    "containerd",
    "disk",
    "journal",
    "upstream",
    "clock",
    "clients",
    "host",
)


class Subjects:
    """What there is to look at, by the settings at `path`; `settings` is None when those cannot be used.

    `root` is where clients' files are; `repository` one that is tried to be pushed to.
    """

    def __init__(self, path: Path, root: Path, repository: str | None) -> None:
        self._file = SettingsFile(path)
        self._root = root
        self._repository = repository
        self.settings = self._file.settings

    def checks(self) -> list[Check]:
        """All checks; without settings those that need none. Raises RegistryError: the repository has no such name."""
        checks = [self._file.check(), unit_check(), synchronised_check()]
        if self.settings is not None:
            checks += self._named(self.settings)
        return sorted(checks, key=lambda check: _ORDER.index(check.name.partition(".")[0]))

    def _named(self, settings: Settings) -> list[Check]:
        """Those of everything that the settings name."""
        daemon = DaemonChecks(settings.admin.socket)
        containerd = ContainerdChecks(settings.containerd, self._root)
        tried = self._tried(settings)
        upstreams = [
            UpstreamChecks(name, upstream, tried if tried and tried.registry == name else None)
            for name, upstream in settings.upstreams.items()
        ]
        listeners = [ListenerChecks(name, each, settings, daemon) for name, each in settings.listeners.items()]
        return [
            caveats_check(settings),
            identity_check(settings),
            *daemon.checks(),
            *(check for each in listeners for check in each.checks()),
            *containerd.checks(),
            *DiskChecks(settings, containerd).checks(),
            *JournalChecks(settings.journal.path, daemon).checks(),
            *(check for each in upstreams for check in each.checks()),
            *ClockChecks(upstreams).checks(),
            *client_checks(settings, self._root),
            *HostChecks(settings, daemon, upstreams).checks(),
        ]

    def _tried(self, settings: Settings) -> Repository | None:
        if self._repository is None:
            return None
        return split_image(self._repository, frozenset(settings.upstreams), settings.default_upstream)[0]
