"""Serving operators and builders, from the first connection to the last answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from mirror import config
from mirror.app.daemon import Daemon
from mirror.http.admin import AdminUseCases, admin_application
from mirror.http.routes import UseCases, application
from mirror.http.traffic import Traffic

_READ_BUFFER = 256 * 1024
_CANCELLED_WITHIN = 1.0


@asynccontextmanager
async def listening(settings: config.Settings, daemon: Daemon) -> AsyncIterator[None]:
    """Serve operators and builders; on the way out, stop accepting and let requests in flight finish.

    Those that only wait for something to happen are answered at once with what there is.
    """
    traffic = Traffic()
    admin = admin_application(_admin_use_cases(daemon), registries=daemon.registries, clock=daemon.clock)
    public = application(
        UseCases(
            blob_push=daemon.blob_push,
            manifest_push=daemon.manifest_push,
            pull=daemon.pull,
            discovery=daemon.discovery,
            removal=daemon.removal,
            watch=daemon.watch,
            follow=daemon.follow,
        ),
        registries=daemon.registries,
        catalog=settings.http.catalog,
        idle=settings.http.idle,
        traffic=traffic,
        clock=daemon.clock,
    )
    # An operator who goes away takes his question with him; what a builder began is finished all the same.
    async with _running(admin, handler_cancellation=True) as admin_runner, _running(public) as public_runner:
        await web.UnixSite(admin_runner, _fresh_socket(settings.admin.socket)).start()
        site = web.TCPSite(public_runner, *settings.http.address)
        await site.start()
        yield
        daemon.changed.close()
        await site.stop()
        await daemon.clock.wait(traffic.idle, settings.shutdown.deadline)


def _admin_use_cases(daemon: Daemon) -> AdminUseCases:
    return AdminUseCases(
        watch=daemon.watch,
        follow=daemon.follow,
        operator=daemon.operator,
        drain=daemon.drain,
        reconciler=daemon.reconciler,
        limits=daemon.replication.limits,
        breakers=daemon.breakers,
        presence=daemon.presence,
        readiness=daemon.readiness,
        evictor=daemon.space.evictor,
    )


@asynccontextmanager
async def _running(app: web.Application, *, handler_cancellation: bool = False) -> AsyncIterator[web.AppRunner]:
    runner = web.AppRunner(
        app,
        access_log=None,  # the middleware writes the one line per request
        auto_decompress=False,  # what is pushed is what is stored, whatever Content-Encoding it claims
        handle_signals=False,
        handler_cancellation=handler_cancellation,
        read_bufsize=_READ_BUFFER,
        shutdown_timeout=_CANCELLED_WITHIN,
    )
    await runner.setup()
    try:
        yield runner
    finally:
        await runner.cleanup()


def _fresh_socket(path: Path) -> str:
    """Make way for the admin socket: one that is still there is left over from a daemon that was killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return str(path)
