"""Stored bytes as the body of an answer: from the store's file, where there is one to be had, and by the kernel.

Over TLS the bytes have to come by here to be encrypted.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import BinaryIO

import structlog
from aiohttp import web

from mirror.core.errors import ContentMissingError, StoreUnavailableError, UpstreamError
from mirror.core.pull import Pull, Stored

_log = structlog.get_logger(__name__)

_SMALL = 256 * 1024
"""So much is sooner read and written than handed to the kernel."""
_STRETCH = 8 * 1024 * 1024
_PAGES = 1024 * 1024
_PIECE = 256 * 1024

_Ready = Callable[[range], Awaitable[range]]
"""How much of a part its file has by now."""


async def send(request: web.Request, response: web.StreamResponse, pull: Pull, stored: Stored, part: range) -> None:
    """Send an answer with part of what was found.

    Raises:
        ConnectionError: the client is gone, or was hung up on, as the store did not give all that was announced.
    """
    try:
        sent = await _send(request, response, pull, stored, part)
    except ConnectionError:
        raise
    except (StoreUnavailableError, ContentMissingError, UpstreamError, OSError) as error:
        raise _hang_up(request, str(error)) from error
    if sent < len(part):
        _log.error("content.short", digest=stored.digest, size=stored.size, end=part.start + sent)
        raise _hang_up(request, f"{stored.digest} ends early")


def _hang_up(request: web.Request, reason: str) -> ConnectionAbortedError:
    """The status is long gone; only a broken connection can still say that the body is not whole."""
    if request.transport is not None:
        request.transport.abort()
    return ConnectionAbortedError(reason)


async def _send(request: web.Request, response: web.StreamResponse, pull: Pull, stored: Stored, part: range) -> int:
    """How many bytes the store gave."""
    file = await pull.file(stored) if stored.coming or len(part) > _SMALL else None
    if file is not None:
        with file:
            await response.prepare(request)
            ready = partial(pull.ready, stored)
            if request.secure:
                return await _send_encrypted(response, file, part, ready)
            return await _send_file(request, file, part, ready)
    await response.prepare(request)
    sent = 0
    async for data in pull.read(stored, part.start, len(part)):
        await response.write(data)
        sent += len(data)
    return sent


async def _send_file(request: web.Request, file: BinaryIO, part: range, ready: _Ready) -> int:
    """As `_send`, without the bytes coming by here."""
    loop = asyncio.get_running_loop()
    sent = 0
    while left := part[sent:]:
        rest = await ready(left)
        await asyncio.to_thread(_load, file.fileno(), rest)
        given = await loop.sendfile(_transport(request), file, rest.start, min(_STRETCH, len(rest)))
        if not given:
            break
        sent += given
    return sent


async def _send_encrypted(response: web.StreamResponse, file: BinaryIO, part: range, ready: _Ready) -> int:
    """As `_send`; asyncio's own way of sending a file over TLS goes to a thread for every 16 KiB."""
    sent = 0
    while left := part[sent:]:
        rest = await ready(left)
        data = await asyncio.to_thread(os.pread, file.fileno(), min(_PIECE, len(rest)), rest.start)
        if not data:
            break
        await response.write(data)
        sent += len(data)
    return sent


def _load(descriptor: int, rest: range) -> None:
    """Wait until the next stretch is in the page cache: the kernel would fetch it in the middle of the event loop.

    The one after it comes while that is sent. The kernel reads no further ahead than this each time that it is asked.
    """
    for start in rest[: 2 * _STRETCH : _PAGES]:
        os.posix_fadvise(descriptor, start, _PAGES, os.POSIX_FADV_WILLNEED)
    os.pread(descriptor, 1, rest[:_STRETCH][-1])


def _transport(request: web.Request) -> asyncio.Transport:
    """The connection of a request. Raises ConnectionResetError: it has ended."""
    if request.transport is None or request.transport.is_closing():
        raise ConnectionResetError("the client is gone")
    return request.transport
