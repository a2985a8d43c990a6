"""Ways to an upstream, as the contract tests of its client need them."""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Sequence

import aiohttp
from yarl import URL

from mirror.core.jobs import Backoff
from mirror.core.ports import Upstream
from mirror.core.replication.breaker import Breaker
from mirror.oci.manifest import Descriptor
from mirror.oci.names import Digest, Repository
from mirror.runtime.clock import SystemClock
from mirror.upstream.credentials import Source
from mirror.upstream.transport import Proxy, Transport

PATIENT = 30.0


def transport_to(
    url: URL | str,
    *,
    credentials: Source | None = None,
    tls: ssl.SSLContext | None = None,
    proxy: Proxy | None = None,
    stall: float = PATIENT,
    traces: Sequence[aiohttp.TraceConfig] = (),
) -> Transport:
    """A transport with a breaker of its own, which nobody watches: once it is open it stays so."""
    clock = SystemClock()
    breaker = Breaker(clock=clock, random=random.SystemRandom(), backoff=Backoff(1.0, 1.0))
    return Transport(
        URL(url),
        credentials=credentials,
        tls=tls,
        proxy=proxy,
        clock=clock,
        breaker=breaker,
        stall=stall,
        traces=traces,
    )


class Leaps:
    """The time of the running event loop, which passes as usual, and by leaps when a test says so."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._leapt = 0.0
        self._loop.time = lambda: self._time() + self._leapt  # type: ignore[method-assign] # there is no other way in

    async def leap(self, seconds: float) -> None:
        """Let so much time pass at once, and wake those whose time has come."""
        self._leapt += seconds
        for _ in range(3):  # a timer, what it cancels, and what that wakes
            await asyncio.sleep(0)


async def send_blob(upstream: Upstream, repository: Repository, blob: Descriptor, data: AsyncIterator[bytes]) -> None:
    """Open an upload and send all of a blob."""
    transfer = await upstream.begin_upload(repository, blob.digest)
    assert transfer is not None
    assert transfer.offset == 0
    await upstream.upload_blob(repository, blob, transfer, data)


async def read_blob(upstream: Upstream, repository: Repository, digest: Digest) -> bytes:
    """All of a blob."""
    async with upstream.open_blob(repository, digest) as incoming:
        return b"".join([data async for data in incoming.data])
