"""Making all checks at once, each within its time, and all of them within theirs."""

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import TypeVar

from mirror.cli.doctor.checks import Check, Finding, Result, Verdict, broken, skipped, warning

T = TypeVar("T")

_ALL_WITHIN = 15.0
_ENDS = frozenset({Verdict.BROKEN, Verdict.SKIPPED})


async def examine(checks: Sequence[Check], *, within: float = _ALL_WITHIN) -> list[Result]:
    """Make all checks, those that do not depend on each other at once; returns what they came to, in their order."""
    deadline = asyncio.get_running_loop().time() + within
    async with asyncio.TaskGroup() as group:
        tasks: dict[str, asyncio.Task[Finding]] = {}
        for check in checks:  # what a check depends on stands before it
            tasks[check.key] = group.create_task(_found(check, dict(tasks), deadline), name=check.key)
    return [Result(check, tasks[check.key].result()) for check in checks]


async def _found(check: Check, before: Mapping[str, asyncio.Task[Finding]], deadline: float) -> Finding:
    for key in check.after:
        await before[key]
    for key in check.needs:
        if (await before[key]).verdict in _ENDS:
            return skipped(f"not looked at, because of {key}")
    seconds = max(0.0, min(check.seconds, deadline - asyncio.get_running_loop().time()))
    try:
        async with asyncio.timeout(seconds):
            return await _looked(check)
    except TimeoutError:
        return broken(
            f"no answer within {seconds:.0f} s", "see what hangs there: a disk, a network file system, a host"
        )
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not hide what the others found
        return warning(f"the check itself failed: {type(error).__name__}: {error}", "please report this")


async def _looked(check: Check) -> Finding:
    found = check.look() if inspect.iscoroutinefunction(check.look) else await in_thread(check.look)
    return found if isinstance(found, Finding) else await found


async def in_thread(work: Callable[[], T]) -> T:
    """Run what may wait for ever, on a thread that nobody waits for at exit, as for those of asyncio."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            settle = partial(done.set_result, work())
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            settle = partial(done.set_exception, error)
        with suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(lambda: None if done.done() else settle())

    Thread(target=run, daemon=True).start()
    return await done
