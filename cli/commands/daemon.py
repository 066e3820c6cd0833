"""`cnnbo daemon`: serve studies until stopped."""

import asyncio
import logging
import sys
from typing import TYPE_CHECKING

from cnnbo.cli import options

if TYPE_CHECKING:
    from cnnbo.daemon.serve import Daemon


def daemon(
    devices: options.Devices = None,
    state: options.State = None,
    node: options.Node = None,
    no_mqtt: options.NoMqtt = False,
) -> None:
    """Serve studies in the foreground of this terminal or unit; SIGTERM stops it in order."""
    import faulthandler

    from cnnbo.daemon.serve import serve

    faulthandler.enable()  # systemd's watchdog sends SIGABRT: the log then says what each thread was at
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    settings = options.settings(state, node, no_mqtt)
    asyncio.run(serve(settings, devices or "auto", _ready))


def _ready(daemon: "Daemon") -> None:
    from cnnbo.daemon.systemd import notify

    notify("READY=1")
    logging.getLogger("cnnbo").info("ready: state %s. %s", daemon.state, daemon.note)
