"""The `Recompressor` port, by a process for each layer: one that is meant to do damage ends nothing but that."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import BinaryIO

import msgspec

from mirror.core.errors import BadLayerError, ContentMissingError, RecompressionError, StoreUnavailableError
from mirror.core.ports import Content, Recompressed
from mirror.oci.manifest import Descriptor
from mirror.recompress.codecs import PIECE

_PROGRAM = "mirror.recompress.program"
_ENVIRONMENT = {"PYTHONPATH"}
# What tars of real files come to is below ten. One of zeroes only may be a thousand times as large as its gzip.
_MOST_TIMES = 200
_ALWAYS = 64 << 20


class ProcessRecompressor:
    """Implements `mirror.core.ports.Recompressor`, with so many threads for each layer."""

    def __init__(self, content: Content, threads: int) -> None:
        self._content = content
        self._threads = threads

    @asynccontextmanager
    async def recompress(self, layer: Descriptor, diff_id: str, level: int) -> AsyncIterator["_Layer"]:
        """See `Recompressor`. The process reads the file of the blob itself, where there is one to be had."""
        most = max(_ALWAYS, _MOST_TIMES * layer.size)
        file = await self._content.file(layer.digest, layer.size)
        try:
            process = await _start(file, str(level), str(self._threads), diff_id, str(most))
        finally:
            if file:
                file.close()
        reading = _Reading(self._content, layer)
        # A group of tasks would make groups of the failures of whoever reads.
        feeding = asyncio.create_task(reading.feed(process.stdin))  # noqa: TID251 - it ends below
        try:
            yield _Layer(process, reading)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            feeding.cancel()
            await asyncio.wait([feeding])
            await process.wait()


async def _start(file: BinaryIO | None, *arguments: str) -> Process:
    environment = {name: value for name, value in os.environ.items() if name in _ENVIRONMENT}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # what is in the working directory is no module
        "-m",
        _PROGRAM,
        *arguments,
        stdin=file or PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=environment,
        limit=PIECE,
    )


class _Reading:
    """Hands a process what it cannot read itself; `failure` is why that broke off."""

    def __init__(self, content: Content, layer: Descriptor) -> None:
        self._content = content
        self._layer = layer
        self.failure: Exception | None = None

    async def feed(self, stdin: asyncio.StreamWriter | None) -> None:
        """Hand over all of it, if there is a way; a process that ends before says itself why."""
        if stdin is None:
            return
        try:
            with suppress(BrokenPipeError, ConnectionResetError):
                async for piece in self._content.read(self._layer.digest, size=self._layer.size):
                    stdin.write(piece)
                    await stdin.drain()
        except (ContentMissingError, StoreUnavailableError) as error:
            self.failure = error
        finally:
            stdin.close()


class _Layer:
    """See `mirror.core.ports.Recompression`."""

    def __init__(self, process: Process, reading: _Reading) -> None:
        self._process = process
        self._reading = reading
        self._made: Recompressed | None = None

    @property
    def made(self) -> Recompressed:
        """See `Recompression`."""
        if self._made is None:
            raise RuntimeError("it is not through")
        return self._made

    async def pieces(self) -> AsyncIterator[bytes]:
        """See `Recompression`."""
        output = _pipe(self._process.stdout)
        while piece := await output.read(PIECE):
            yield piece
        complaint = (await _pipe(self._process.stderr).read()).decode(errors="replace")
        status = await self._process.wait()
        if self._reading.failure:
            raise self._reading.failure
        said = complaint.strip().rpartition("\n")[2]
        if status == os.EX_DATAERR:
            raise BadLayerError(json.loads(said)["reason"])
        if status != os.EX_OK:
            raise RecompressionError(f"the process ended with {status}: {said}")
        self._made = msgspec.json.decode(said, type=Recompressed)


def _pipe(stream: asyncio.StreamReader | None) -> asyncio.StreamReader:
    if stream is None:
        raise RuntimeError("a process without pipes")
    return stream
