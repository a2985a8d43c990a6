"""The group of long-lived tasks, and the signals that end the daemon."""

import asyncio
import os
import signal

import pytest

from mirror.runtime.supervise import background, until_told_to_stop


async def test_tasks_end_with_the_body() -> None:
    """They run beside it, under their names, and are cancelled when it ends."""
    seen: list[str] = []
    inside = asyncio.Event()

    async def forever() -> None:
        task = asyncio.current_task()
        inside.set()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(task.get_name() if task else "")

    async with background({"replicate": forever}):
        await inside.wait()
        assert seen == []
    assert seen == ["replicate"]


async def test_a_task_that_is_done_takes_nobody_with_it() -> None:
    """Returning is no crash: the body goes on."""
    done = asyncio.Event()

    async def once() -> None:
        done.set()

    async with background({"reconcile": once}):
        await done.wait()
        await asyncio.sleep(0)


async def test_a_crash_ends_everything_at_once() -> None:
    """The body is cancelled where it stands, the other tasks too, and the crash comes out."""
    left: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            left.append("task")

    async def crash() -> None:
        raise LookupError("crash")

    async def daemon() -> None:
        async with background({"fine": forever, "broken": crash}):
            try:
                await asyncio.Event().wait()
            finally:
                left.append("body")

    with pytest.raises(ExceptionGroup) as raised:
        await daemon()
    assert [str(error) for error in raised.value.exceptions] == ["crash"]
    assert sorted(left) == ["body", "task"]


async def test_a_body_that_fails_ends_the_tasks() -> None:
    """A start that fails after the tasks began leaves none of them behind, and is not swallowed."""
    left: list[bool] = []
    inside = asyncio.Event()

    async def forever() -> None:
        inside.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.append(True)

    async def daemon() -> None:
        async with background({"fine": forever}):
            await inside.wait()
            raise OSError("address in use")

    with pytest.raises(ExceptionGroup) as raised:
        await daemon()
    assert raised.group_contains(OSError, match="address in use")
    assert left == [True]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_wait(number: signal.Signals) -> None:
    """SIGTERM and SIGINT are taken, once: the handlers of before are back afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    waiting = asyncio.create_task(until_told_to_stop())
    await asyncio.sleep(0)
    os.kill(os.getpid(), number)
    await waiting
    assert signal.getsignal(signal.SIGTERM) is before
