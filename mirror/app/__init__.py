"""The composition root: opens bottom-up, runs, closes top-down. It decides nothing."""

from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import structlog

from mirror import __version__, config
from mirror.app.daemon import Daemon
from mirror.app.listeners import Listeners
from mirror.app.listening import ADMIN, listening, places
from mirror.app.reloading import Reloader
from mirror.app.rooms import Rooms
from mirror.app.secrets import located
from mirror.app.sockets import Sockets
from mirror.app.telling import Telling, taking_longer
from mirror.app.watchdog import Watchdog
from mirror.runtime import supervise, systemd
from mirror.runtime.clock import SystemClock

_log = structlog.get_logger(__name__)


async def serve(settings: config.Settings, path: Path) -> None:
    """Run the daemon until it is told to stop; on SIGHUP the settings are read again from `path`.

    Raises:
        SettingsError: a file that the settings name cannot be used.
        JournalError, JournalUnavailableError, OSError: it could not start.
        ExceptionGroup: one of its tasks crashed, or the journal turned out to be damaged.
    """
    secrets: dict[str, Path] = {}
    clock = SystemClock()
    settings = located(settings, secrets)
    async with AsyncExitStack() as stack:
        hangup = stack.enter_context(supervise.on_hangup())
        async with taking_longer(clock):
            rooms = await Rooms.open(settings, stack)
            daemon = Daemon(settings, rooms)
            await daemon.blob_push.recall()
            listeners = Listeners(settings, rooms.clock)
            stack.push_async_callback(daemon.blob_push.close)
            sockets = Sockets(places(settings, listeners))
            await sockets.take()
        reloader = Reloader(path, settings, secrets, daemon, listeners)
        beside: supervise.Tasks = {
            **daemon.tasks,
            **listeners.tasks(),
            **Watchdog(rooms.database, partial(sockets.where, ADMIN), clock).tasks(),
            "reload": partial(supervise.whenever, hangup, reloader.reload),
            "status": Telling(daemon).run,
        }
        async with listening(rooms, reloader, daemon, listeners, sockets), supervise.background(beside):
            systemd.notify("READY=1")
            where = {each.name: each.settings.listen for each in listeners.all}
            _log.info("daemon.ready", version=__version__, listeners=where)
            await supervise.until_told_to_stop()
            systemd.notify("STOPPING=1", "STATUS=requests in flight are finished")
            await stack.enter_async_context(taking_longer(clock))
            _log.info("daemon.stopping")
    _log.info("daemon.stopped")
