"""A task that is to end must end, or an orderly stop waits for ever."""

import asyncio
import sys

import pytest

from cnnbo.daemon.tasks import end_tasks


async def _deaf_once(answer: asyncio.Event) -> None:
    await asyncio.wait_for(answer.wait(), 60)
    await asyncio.Event().wait()


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="asyncio.wait_for drops no cancellation any more")
async def test_a_dropped_cancellation_is_repeated() -> None:
    """The answer of a broker and the stop of the daemon may come in one moment (nemesis, seed 1115)."""
    answer = asyncio.Event()
    task = asyncio.create_task(_deaf_once(answer))
    await asyncio.sleep(0)
    answer.set()
    await asyncio.sleep(0)  # the inner wait is done, the task hasn't been told
    task.cancel()
    await asyncio.wait([task], timeout=0.05)
    assert not task.done()  # that is how it goes wrong
    await end_tasks([task], patience_s=0.05)
    assert task.cancelled()


async def test_a_task_that_fails_meanwhile_has_ended() -> None:
    """Its error is for whoever asks it, not for who ends it."""

    async def fail() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("no")

    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    await end_tasks([task])
    assert isinstance(task.exception(), ValueError)
