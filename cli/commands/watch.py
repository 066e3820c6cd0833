"""`cnnbo watch`: boxes, devices and studies on one screen, as they change."""

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnbo.cli import options
from cnnbo.scheduler.errors import RequestError

if TYPE_CHECKING:
    from cnnbo.cli.monitor.sources import Source

_LOOK_AGAIN_S = 0.1


def broker_url(state: Path | None) -> str:
    """Ask the daemon of this box where it publishes; one that has just begun is given the time to start its broker.

    Raises:
        RequestError: no daemon answers, or it has no broker.
    """
    from cnnbo.daemon.client import status
    from cnnbo.daemon.folders import without_daemon

    folder = options.state_folder(state)
    while (facts := status(folder))["daemon"] is not None and facts["daemon"].get("mqtt_starting"):
        time.sleep(_LOOK_AGAIN_S)
    if isinstance(facts["mqtt"], str):
        return facts["mqtt"]
    if facts["daemon"] is None:
        raise RequestError(f"{without_daemon(folder)}; or watch another box: cnnbo watch --broker URL.")
    reason = facts["daemon"].get("mqtt_reason") or "it runs without MQTT"
    raise RequestError(f"the daemon of {folder} has no broker: {reason}; `cnnbo status` shows what it does meanwhile.")


def watch(
    broker: Annotated[list[str] | None, typer.Option(help="URL of a broker to listen to; several allowed.")] = None,
    node: Annotated[str | None, typer.Option(help="Show only the box of this name.")] = None,
    once: Annotated[bool, typer.Option("--once", "-1", help="Print what is known now, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what is known now as JSON, and end.")] = False,
    state: Annotated[Path | None, typer.Option(readable=False, help="State folder of the daemon to watch.")] = None,
    base: Annotated[str, typer.Option(help="Base of the topics, where the daemons have another.")] = "cnnbo",
) -> None:
    """Watch devices and studies of one box or several; q ends it."""
    import asyncio

    from cnnbo.cli.monitor.sources import Source  # MQTT: too slow to load for `cnnbo --help`
    from cnnbo.daemon.credentials import broker_addresses, broker_of_box

    home = options.state_folder(state)
    if broker:
        brokers = [Source(address) for address in broker_addresses(broker, os.environ)]
    else:
        brokers = [Source(broker_of_box(broker_url(state), os.environ, home), home)]
    raise typer.Exit(asyncio.run(_watch(brokers, home, node, base, once=once, as_json=as_json)))


async def _watch(brokers: list["Source"], home: Path, node: str | None, base: str, *, once: bool, as_json: bool) -> int:
    from cnnbo.cli.monitor.screen import Monitor  # Rich too

    monitor = Monitor(brokers, home, node, base)
    if once or as_json:
        await monitor.listen_once()
        if as_json:
            print(json.dumps(monitor.state.to_json(), indent=2))
        else:
            monitor.print_screen()
        return 0
    can_draw = sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    return await (monitor.draw() if can_draw else monitor.print_changes())
