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
    from cnnbo.daemon.folders import prepare_lease_dir, prepare_state_folder
    from cnnbo.daemon.serve import serve

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    settings = options.settings(state, node, no_mqtt)
    prepare_state_folder(settings.state)
    prepare_lease_dir(settings.lease_dir)
    asyncio.run(serve(settings, devices or "auto", _ready))


def _ready(daemon: "Daemon") -> None:
    from cnnbo.daemon.systemd import notify

    notify("READY=1", f"STATUS={daemon.note}")
    logging.getLogger("cnnbo").info("ready: state %s. %s", daemon.state, daemon.note)
