"""What a daemon under systemd does differently: it waits for what isn't there yet, and asks for time to stop in."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from typing import Any, Final, TypeVar

from cnnbo.daemon.devices.presence import nodes_closed_by_rules
from cnnbo.daemon.systemd import tell
from cnnbo.daemon.watchdog import feeding_interval_s
from cnnbo.scheduler.errors import CnnboError, NotReadyError

log = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_S: Final = 10.0
"""What a start waits for is looked at this often."""

STOPPING_S: Final = 5.0
"""So often it is said how far the stopping is."""

_MORE_S: Final = 60.0
"""So much more time systemd is asked for each time, far above the intervals in which it is asked."""

_STARTING_ROUNDS: Final = 90  # half an hour: a start that takes longer hangs
_READY_TRIES: Final = 10


def is_supervised(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a service manager listens, and would start this process anew."""
    return bool(environ.get("NOTIFY_SOCKET"))


def more_time(seconds: float = _MORE_S) -> str:
    """What lengthens starting or stopping to at least so many seconds from now."""
    return f"EXTEND_TIMEOUT_USEC={seconds * 1e6:.0f}"


async def started(
    stack: AsyncExitStack, start: Callable[[], AbstractAsyncContextManager[T]], stop: asyncio.Event, uses_gpus: bool
) -> T | None:
    """Start the daemon; under systemd wait until that can be done, where it will heal by itself.

    A full disk or a driver that comes late must not leave a box down that nobody looks at, and systemd gives up on who
    fails again and again.

    Args:
        stack: ends the daemon.
        start: makes a new daemon at each try.
        stop: set by whoever doesn't want to wait any more.
        uses_gpus: whether it is to use NVIDIA's devices where there are some.

    Returns:
        the daemon; None if it was still waited for when it was to stop.

    Raises:
        NotReadyError: it can't be started now, and nobody would wait for it.
        CnnboError: it can't be started by this process at all.
    """
    told = ""
    while True:
        if uses_gpus and is_supervised():
            _refuse_old_rules()
        try:
            return await _given_time(stack.enter_async_context(start()))
        except NotReadyError as error:
            if not is_supervised():
                raise
            if str(error) != told:
                told = str(error)
                log.warning("waiting: %s", told)
            await tell(f"STATUS=waiting: {' '.join(told.split())}", more_time())
        with suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S):
                await stop.wait()
                return None


async def _given_time(start: Coroutine[Any, Any, T]) -> T:
    """Start, and ask for the time that takes: a journal of years to be upgraded, drivers of many devices."""
    asking = asyncio.ensure_future(_ask_for_time())
    try:
        return await start
    finally:
        asking.cancel()


async def _ask_for_time() -> None:
    for _ in range(_STARTING_ROUNDS):
        await tell(more_time())
        await asyncio.sleep(_MORE_S / 3)


async def tell_ready() -> None:
    """Say that the daemon is up; a manager that has no room for that now would end it in time."""
    for _ in range(_READY_TRIES):
        if await tell("READY=1") or not is_supervised():
            return


def _refuse_old_rules() -> None:
    """End a daemon that may not open what a driver brought that was loaded after it was started.

    Raises:
        CnnboError: that is so; systemd makes new rules when it starts the unit anew.
    """
    if closed := nodes_closed_by_rules():
        raise CnnboError(
            f"{', '.join(map(str, closed))}: came after this unit was started, and systemd lets a unit open only what "
            "was there by then; it has to be started anew, which its Restart= sees to."
        )


async def tell_stopping(running: Callable[[], int], grace_s: float, last_wait_s: float) -> None:
    """Say how far the stopping is, ask for the time it takes and keep the watchdog quiet; returns when that is over.

    Args:
        running: how many trials there still are.
        grace_s: how long they may take, in seconds.
        last_wait_s: and how long their ends may take to be journalled. Beyond that systemd's own limit holds.
    """
    begun = time.monotonic()
    while (passed_s := time.monotonic() - begun) < grace_s + last_wait_s:
        await tell("STOPPING=1", f"STATUS={_stopping(running(), grace_s - passed_s)}", more_time(), "WATCHDOG=1")
        await asyncio.sleep(min(STOPPING_S, feeding_interval_s() or STOPPING_S))


def _stopping(trials: int, left_s: float) -> str:
    if not trials:
        return "stopping"
    return f"stopping {trials} trial{'' if trials == 1 else 's'}, up to {max(0.0, left_s):.0f} s"
