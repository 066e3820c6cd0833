"""Carries out what a viewer orders, and tells in a sentence what came of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnnbo.cli.monitor.canvas import counted
from cnnbo.cli.monitor.known import Box, BoxKey
from cnnbo.cli.monitor.view import Order
from cnnbo.daemon import client
from cnnbo.daemon.remote import RemoteDaemon
from cnnbo.scheduler.errors import CnnboError


class Home:
    """The state folder of this machine, and which of the boxes its daemon is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[BoxKey, tuple[str | None, bool]] = {}  # the answer, by box and boot

    async def is_of(self, box: Box) -> bool:
        """Whether a box is this machine; told by the boot, for nodes of two machines may have the same name."""
        boot, is_here = self._known.get(box.key, (None, False))
        if boot is not None and boot == box.boot:
            return is_here
        try:
            facts = await client.request(self.folder, "status")
        except CnnboError:  # it is away, or somebody else's; it may be back the next time
            return False
        is_here = bool(facts["daemon"]["boot"] == box.boot)
        self._known[box.key] = box.boot, is_here
        return is_here


async def carry_out(order: Order, box: Box, home: Home, elsewhere: RemoteDaemon) -> str:
    """Have a box do something: the one of this machine through its control socket, others over MQTT.

    Args:
        order: what is to be done.
        box: by which box.
        home: this machine.
        elsewhere: the box's daemon, by way of its broker.

    Returns:
        what came of it, or the daemon's or broker's refusal, as a sentence.
    """
    try:
        if await home.is_of(box):
            answer = await client.request(home.folder, order.verb, **order.args)
        else:
            answer = await elsewhere.request(order.verb, **order.args)
    except CnnboError as error:
        return str(error)
    return _outcome(order, answer)


def _outcome(order: Order, answer: Mapping[str, Any]) -> str:
    match order.verb:
        case "pause":
            running = answer.get("running") or 0
            rest = f"; {counted(running, 'trial')} {'goes' if running == 1 else 'go'} on to the end" if running else ""
            return f"{order.args['study']} is paused{rest}."
        case "resume":
            return f"{order.args['study']} goes on."
        case "drain":
            return f"Device {answer.get('index')} is drained; no more trials start there."
        case _:
            return f"Device {answer.get('index')} is used again (now {answer.get('state')})."
