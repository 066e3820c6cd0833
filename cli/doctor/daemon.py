"""The daemon of the state folder: whether it answers, and what it says of itself."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from cnnbo import __version__
from cnnbo.cli.doctor.finding import Finding, fail, from_error, ok, warn
from cnnbo.cli.doctor.scope import Scope
from cnnbo.daemon import client
from cnnbo.scheduler.errors import CnnboError

_ANSWER_S: Final = 5.0
_RESTART: Final = "restart it: sudo systemctl restart cnnbo, or end it and type cnnbo daemon; its studies go on"


def check_daemon(scope: Scope) -> Iterator[Finding]:
    """The running daemon, if there is one."""
    state = scope.settings.state
    try:
        status = ask_in_time(state, "status")
    except client.NoDaemonError:
        yield ok("daemon", f"no daemon in {state} now; `cnnbo run` needs none, `cnnbo daemon` starts one")
    except TimeoutError:
        yield fail("daemon", f"the daemon in {state} takes connections and does not answer", _RESTART)
    except CnnboError as error:
        yield from (warn("daemon", finding.text, finding.fix or "") for finding in from_error("daemon", error))
    else:
        yield from _told(status)


def ask_in_time(state: Path, verb: str) -> Any:
    """What the daemon of a state folder answers.

    Raises:
        NoDaemonError: there is none.
        CnnboError: it refuses.
        TimeoutError: it takes connections and says nothing, as one that is frozen.
    """

    async def ask() -> Any:
        async with asyncio.timeout(_ANSWER_S):
            return await client.request(state, verb)

    return asyncio.run(ask())


def _told(status: dict[str, Any]) -> Iterator[Finding]:
    daemon = status["daemon"]
    who = f"the daemon (pid {daemon['pid']})"
    if daemon["version"] != __version__:
        yield warn("daemon", f"{who} is cnnbo {daemon['version']}, this command is {__version__}", _RESTART)
    else:
        yield ok("daemon", f"{who} answers, cnnbo {daemon['version']}")
    if daemon["mqtt_reason"] is not None:
        yield warn(
            "daemon", f"{who} has no broker: {daemon['mqtt_reason'].rstrip('.')}", "see what is said of the broker"
        )
    if full := next((device["reason"] for device in status["devices"] if "disk" in str(device["reason"])), None):
        yield fail(
            "daemon", f"{who} starts no trial: {full.rstrip('.')}", "free some space there; it goes on by itself"
        )
