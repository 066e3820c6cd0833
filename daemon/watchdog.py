"""The watchdog: systemd hears that the daemon lives, as long as the parts do that make it one.

A timer alone would go on ticking in a daemon that has come to a standstill. So before each message every part has to
show that it moves; when one doesn't, systemd ends the daemon and starts it anew.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping

from cnnbo.daemon.systemd import tell

log = logging.getLogger(__name__)

Proof = Callable[[], Awaitable[None]]
"""Returns as soon as a part has shown that it moves, and not before."""


def feeding_interval_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """How often to tell systemd, in seconds: three times within its patience (`man 3 sd_watchdog_enabled`).

    Returns:
        None where nobody watches, or another process than this one.
    """
    patience_us = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(patience_us) / 3e6 if patience_us.isdecimal() and int(patience_us) else None


async def feed(every_s: float, parts: Mapping[str, Proof]) -> None:
    """Tell systemd that the daemon lives, for ever, as often as all of its parts show that they do.

    Args:
        every_s: see `feeding_interval_s`; who takes longer to show it is named in the log.
        parts: what has to move, by the name that the log gives it.
    """
    while True:
        async with asyncio.TaskGroup() as group:
            proofs = {group.create_task(_proven(prove), name=part) for part, prove in parts.items()}
            _, stuck = await asyncio.wait(proofs, timeout=every_s)
            names = " and ".join(sorted(proof.get_name() for proof in stuck))
            if stuck:
                log.error("watchdog: %s stuck for %.0f s; systemd restarts a daemon that stays so.", names, every_s)
        if stuck:
            log.warning("watchdog: %s going on again.", names)
        await tell("WATCHDOG=1")
        await asyncio.sleep(every_s)


async def _proven(prove: Proof) -> None:
    await prove()
