"""The composition root: opens bottom-up, runs, closes top-down. It decides nothing."""

from contextlib import AsyncExitStack

import structlog

from mirror import __version__, config
from mirror.app.daemon import Daemon
from mirror.app.listeners import Listeners
from mirror.app.listening import listening
from mirror.app.rooms import Rooms
from mirror.app.secrets import located
from mirror.runtime import supervise, systemd

_log = structlog.get_logger(__name__)


async def serve(settings: config.Settings) -> None:
    """Run the daemon until it is told to stop.

    Raises:
        SettingsError: a file that the settings name cannot be used.
        JournalError, JournalUnavailableError, OSError: it could not start.
        ExceptionGroup: one of its tasks crashed, or the journal turned out to be damaged.
    """
    settings = located(settings)
    async with AsyncExitStack() as stack:
        rooms = await Rooms.open(settings, stack)
        daemon = Daemon(settings, rooms)
        await daemon.blob_push.recall()
        listeners = Listeners(settings, rooms.clock)
        stack.push_async_callback(daemon.blob_push.close)
        async with (
            listening(settings, rooms, daemon, listeners),
            supervise.background({**daemon.tasks, **listeners.tasks()}),
        ):
            systemd.notify("READY=1")
            where = {each.name: each.settings.listen for each in listeners.all}
            _log.info("daemon.ready", version=__version__, listeners=where)
            await supervise.until_told_to_stop()
            systemd.notify("STOPPING=1")
            _log.info("daemon.stopping")
    _log.info("daemon.stopped")
