"""Serving operators and builders, from the first connection to the last answer."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from aiohttp import web

from mirror import config
from mirror.app.daemon import Daemon
from mirror.app.listeners import Listener, Listeners
from mirror.app.metrics import make_exposition
from mirror.app.rooms import Rooms
from mirror.http.admin import AdminUseCases, admin_application
from mirror.http.connections import Connection
from mirror.http.metrics import Exposition
from mirror.http.overview import Overview, StoreSettings
from mirror.http.routes import Limits, UseCases, application
from mirror.http.traffic import Traffic

_BACKLOG = 128
_READ_BUFFER = 256 * 1024
_CANCELLED_WITHIN = 1.0


@asynccontextmanager
async def listening(
    settings: config.Settings, rooms: Rooms, daemon: Daemon, listeners: Listeners
) -> AsyncIterator[None]:
    """Serve operators and builders; on the way out, stop accepting and let requests in flight finish.

    Those that only wait for something to happen are answered at once with what there is.
    """
    traffic = Traffic()
    async with AsyncExitStack() as stack:
        use = _admin_use_cases(settings, daemon, make_exposition(rooms, daemon, listeners))
        admin = admin_application(
            use, registries=daemon.registries, clock=daemon.clock, answered=daemon.metrics.answered
        )
        # An operator who goes away takes his question with him; what a builder began is finished all the same.
        runner = await stack.enter_async_context(_running(admin, handler_cancellation=True))
        await web.SockSite(runner, _unix_socket(settings.admin.socket, settings.admin.group)).start()
        servers = [await _serve(settings, daemon, listeners, each, traffic, stack) for each in listeners.all]
        yield
        daemon.changed.close()
        for server in servers:
            server.close()
        await daemon.clock.wait(traffic.idle, settings.shutdown.deadline)


async def _serve(
    settings: config.Settings,
    daemon: Daemon,
    listeners: Listeners,
    listener: Listener,
    traffic: Traffic,
    stack: AsyncExitStack,
) -> asyncio.Server:
    """Serve builders at one listener."""
    http = settings.http
    app = application(
        _use_cases(daemon),
        listener.door,
        registries=daemon.registries,
        catalog=http.catalog,
        limits=Limits(http.idle, http.manifest, http.name),
        meter=listeners.meter,
        traffic=traffic,
        clock=daemon.clock,
        answered=daemon.metrics.answered,
    )
    runner = await stack.enter_async_context(_running(app, line=http.line, headers=http.headers))
    if runner.server is None:
        raise RuntimeError("the application is not set up")
    server = await _listen(listener, listeners.connections.factory(runner.server), http.head)
    stack.callback(server.close)  # also when the daemon fails
    return server


async def _listen(listener: Listener, factory: Callable[[], Connection], handshake: float) -> asyncio.Server:
    """Accept connections; a TLS handshake may take so many seconds."""
    tls, within = (listener.tls.context, handshake) if listener.tls else (None, None)
    start = partial(
        asyncio.get_running_loop().create_server, factory, backlog=_BACKLOG, ssl=tls, ssl_handshake_timeout=within
    )
    if listener.settings.socket:
        return await start(sock=_unix_socket(listener.settings.socket, listener.settings.group))
    host, port = listener.settings.address
    return await start(host=host, port=port)


def _use_cases(daemon: Daemon) -> UseCases:
    return UseCases(
        blob_push=daemon.blob_push,
        manifest_push=daemon.manifest_push,
        through=daemon.pulling.through,
        discovery=daemon.discovery,
        removal=daemon.removal,
        watch=daemon.watch,
        follow=daemon.follow,
    )


def _admin_use_cases(settings: config.Settings, daemon: Daemon, expose: Exposition) -> AdminUseCases:
    return AdminUseCases(
        watch=daemon.watch,
        follow=daemon.follow,
        operator=daemon.operator,
        drain=daemon.drain,
        reconciler=daemon.reconciler,
        limits=daemon.replication.limits,
        readiness=daemon.readiness,
        evictor=daemon.space.evictor,
        expose=expose,
        overview=_overview(settings, daemon),
        listing=daemon.listing,
    )


def _overview(settings: config.Settings, daemon: Daemon) -> Overview:
    store = settings.containerd
    return Overview(
        watch=daemon.watch,
        board=daemon.board,
        drain=daemon.drain,
        readiness=daemon.readiness,
        presence=daemon.presence,
        store=StoreSettings(store.namespace, store.snapshotter, lambda: daemon.importers.choice),
        breakers=daemon.breakers,
        capacity=daemon.space.capacity,
        failures=daemon.failures,
    )


@asynccontextmanager
async def _running(
    app: web.Application, *, handler_cancellation: bool = False, line: int = 8190, headers: int = 128
) -> AsyncIterator[web.AppRunner]:
    runner = web.AppRunner(
        app,
        access_log=None,  # the middleware writes the one line per request
        auto_decompress=False,  # what is pushed is what is stored, whatever Content-Encoding it claims
        handle_signals=False,
        handler_cancellation=handler_cancellation,
        read_bufsize=_READ_BUFFER,
        shutdown_timeout=_CANCELLED_WITHIN,
        max_line_size=line,
        max_field_size=line,
        max_headers=headers,
    )
    await runner.setup()
    try:
        yield runner
    finally:
        await runner.cleanup()


def _unix_socket(path: Path, group: str | None) -> socket.socket:
    """A socket at a path, for its owner and a group: by default ours, of which nobody else is a member.

    One that is still there is left over from a daemon that was killed. Raises OSError; SettingsError: no such group.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.fchmod(listener.fileno(), 0o600)  # what it is made with, so that there is no moment at which others may connect
    listener.bind(str(path))
    try:
        if group:
            shutil.chown(path, group=group)
    except LookupError as error:
        raise config.SettingsError(f"{path}: {error}") from error
    path.chmod(0o660)
    return listener
