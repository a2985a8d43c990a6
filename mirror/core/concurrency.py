"""Doing several things at once, with a limit, as if they were one."""

import asyncio
from collections.abc import Coroutine, Iterable


async def run_all(actions: Iterable[Coroutine[None, None, None]], at_once: int) -> None:
    """Run every action, at most `at_once` together; the first failure cancels the rest and is raised as it is."""
    slots = asyncio.Semaphore(at_once)

    async def within_limit(action: Coroutine[None, None, None]) -> None:
        async with slots:
            await action

    pending = list(actions)
    try:
        async with asyncio.TaskGroup() as group:
            for action in pending:
                group.create_task(within_limit(action))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    finally:
        for action in pending:
            action.close()  # those whose turn never came
