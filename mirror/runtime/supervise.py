"""Every long-lived task lives in one group: the first that crashes takes the process down, loudly."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager


@asynccontextmanager
async def background(tasks: dict[str, Callable[[], Coroutine[None, None, None]]]) -> AsyncIterator[None]:
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
