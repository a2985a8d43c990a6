"""Whether the daemon does its work, asked again and again; systemd is told only as long as it does.

Source: systemd.service(5), "WatchdogSec="; sd_watchdog_enabled(3).
"""

import asyncio
import os
from collections.abc import Callable, Coroutine

import aiohttp
import structlog

from mirror.core.ports import Clock
from mirror.journal.db import Database
from mirror.runtime import systemd

_log = structlog.get_logger(__name__)
_FEEDINGS = 3.0
"""How often it is fed within the time that it waits."""


class Watchdog:
    """Feeds systemd's watchdog, where it has one for us.

    What is asked is what a restart would mend: the event loop, the journal's thread, and the way of a request. That
    containerd or an upstream is away is nothing to it.
    """

    def __init__(self, database: Database, admin: Callable[[], str], clock: Clock) -> None:
        self._clock = clock
        self._database = database
        self._admin = admin
        self._every = _seconds() / _FEEDINGS

    def tasks(self) -> dict[str, Callable[[], Coroutine[None, None, None]]]:
        """What has to run beside the requests, by names."""
        return {"watchdog": self._feed} if self._every else {}

    async def _feed(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._every):
                    await self._database.answer()
                    await _ask(self._admin())
            except (TimeoutError, aiohttp.ClientError, OSError) as error:
                _log.error("watchdog.unfed", reason=str(error) or "it took too long")
            else:
                systemd.notify("WATCHDOG=1")
            await self._clock.sleep(self._every)


async def _ask(admin: str) -> None:
    """A request of our own, through the admin socket. Raises ClientError, OSError."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(admin), raise_for_status=True) as session,
        session.get("http://registry-mirror/alive"),
    ):
        pass


def _seconds() -> float:
    """How long systemd waits for a sign of life; 0 when it does not."""
    microseconds, whose = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", str(os.getpid()))
    return int(microseconds) / 1e6 if microseconds.isdecimal() and whose == str(os.getpid()) else 0.0
