"""Serving operators and builders, from the first connection to the last answer."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web

from mirror import config
from mirror.app.daemon import Daemon
from mirror.app.listeners import OPERATORS, Listener, Listeners
from mirror.app.metrics import make_exposition
from mirror.app.reloading import Reloader
from mirror.app.rooms import Rooms
from mirror.app.sockets import BACKLOG, Place, Sockets
from mirror.http.admin import AdminUseCases, admin_application
from mirror.http.connections import Connection
from mirror.http.metrics import Exposition
from mirror.http.overview import Overview, StoreSettings
from mirror.http.routes import Limits, UseCases, application
from mirror.http.traffic import Traffic

ADMIN = "admin"
"""The name of the socket for operators."""

PAGE = "page"
"""That of the one that their page is at, if there is one."""

_READ_BUFFER = 256 * 1024
_CANCELLED_WITHIN = 1.0


@asynccontextmanager
async def listening(
    rooms: Rooms, reloader: Reloader, daemon: Daemon, listeners: Listeners, sockets: Sockets
) -> AsyncIterator[None]:
    """Serve operators and builders; on the way out, stop accepting and let requests in flight finish.

    Those that only wait for something to happen are answered at once with what there is.
    """
    settings, traffic = reloader.settings, Traffic()
    async with AsyncExitStack() as stack:
        use = _admin_use_cases(settings, daemon, make_exposition(rooms, daemon, listeners))
        admin = admin_application(
            use, registries=daemon.registries, clock=daemon.clock, answered=daemon.metrics.answered
        )
        # An operator who goes away takes his question with him; what a builder began is finished all the same.
        runner = await stack.enter_async_context(_running(admin, handler_cancellation=True))
        for name in (ADMIN, PAGE) if settings.admin.address else (ADMIN,):
            for each in await sockets.of(name):
                await web.SockSite(runner, each).start()
        servers = [
            server
            for each in listeners.all
            for server in await _serve(settings, daemon, listeners, each, await sockets.of(each.name), traffic, stack)
        ]
        yield
        daemon.changed.close()
        for server in servers:
            server.close()
        await daemon.clock.wait(traffic.idle, reloader.settings.shutdown.deadline)


async def _serve(
    settings: config.Settings,
    daemon: Daemon,
    listeners: Listeners,
    listener: Listener,
    sockets: Iterable[socket.socket],
    traffic: Traffic,
    stack: AsyncExitStack,
) -> list[asyncio.Server]:
    """Serve builders at one listener."""
    http = settings.http
    app = application(
        _use_cases(daemon),
        lambda: listener.door,
        registries=daemon.registries,
        catalog=http.catalog,
        limits=Limits(http.idle, http.manifest, http.name),
        meter=listeners.meter,
        traffic=traffic,
        clock=daemon.clock,
        answered=daemon.metrics.answered,
        tracer=daemon.tracer,
    )
    runner = await stack.enter_async_context(_running(app, line=http.line, headers=http.headers))
    if runner.server is None:
        raise RuntimeError("the application is not set up")
    factory = listeners.connections.factory(runner.server)
    servers = [await _listen(listener, each, factory, http.head) for each in sockets]
    for server in servers:
        stack.callback(server.close)  # also when the daemon fails
    return servers


async def _listen(
    listener: Listener, at: socket.socket, factory: Callable[[], Connection], handshake: float
) -> asyncio.Server:
    """Accept connections; a TLS handshake may take so many seconds."""
    tls = listener.context()
    within = handshake if tls else None
    loop = asyncio.get_running_loop()
    return await loop.create_server(factory, sock=at, backlog=BACKLOG, ssl=tls, ssl_handshake_timeout=within)


def places(settings: config.Settings, listeners: Listeners) -> dict[str, Place]:
    """Where to listen, by the names that the sockets have in systemd's units."""
    places = {
        each.name: Place(each.settings.socket or each.settings.address, each.settings.group, each.name == OPERATORS)
        for each in listeners.all
    }
    if settings.admin.address:
        places[PAGE] = Place(settings.admin.address, is_for_operators=True)
    return {ADMIN: Place(settings.admin.socket, settings.admin.group, is_for_operators=True), **places}


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
        converter=daemon.variants.converter,
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
