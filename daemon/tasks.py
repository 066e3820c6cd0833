"""Ending tasks for good."""

import asyncio
from collections.abc import Collection
from typing import Any

PATIENCE_S = 5.0
"""A task that still runs so long after it was cancelled has not heard of it, or takes its time to say goodbye."""


async def end_tasks(tasks: Collection["asyncio.Task[Any]"], patience_s: float = PATIENCE_S) -> None:
    """Cancel tasks, again and again, until all have ended; whatever they end with is left to who asks them.

    Once isn't always enough: before Python 3.12, `asyncio.wait_for` drops a cancellation that comes in the same moment
    as what it waits for, and the task goes on.
    """
    while pending := {task for task in tasks if not task.done()}:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=patience_s)
