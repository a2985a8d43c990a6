"""Every long-lived task lives in one group: the first that crashes takes the process down, loudly."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager

Tasks = dict[str, Callable[[], Coroutine[None, None, None]]]
"""What begins each task, by its name."""


@asynccontextmanager
async def background(tasks: Tasks) -> AsyncIterator[None]:
    """Run named tasks beside the body; they are cancelled when it ends.

    Raises:
        ExceptionGroup: a task crashed; the body is cancelled and the others with it.
    """
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(start(), name=name) for name, start in tasks.items()]
        try:
            yield
        finally:
            for task in running:
                task.cancel()


async def until_told_to_stop() -> None:
    """Return on the first SIGTERM or SIGINT; a second one ends the process the usual way."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, told.set)
    try:
        await told.wait()
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


@contextmanager
def on_hangup() -> Iterator[asyncio.Event]:
    """An event that SIGHUP sets, from now on: without it the signal would end the process."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, told.set)
    try:
        yield told
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


async def whenever(told: asyncio.Event, act: Callable[[], Coroutine[None, None, None]]) -> None:
    """Act each time that an event is set, once for all that happens meanwhile."""
    while True:
        await told.wait()
        told.clear()
        await act()
