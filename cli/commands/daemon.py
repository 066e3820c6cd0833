"""`cnnbo daemon`: serve studies until stopped."""

from typing import TYPE_CHECKING

from cnnbo.cli import options

if TYPE_CHECKING:
    from cnnbo.daemon.living import Daemon


def daemon(
    devices: options.Devices = None,
    state: options.State = None,
    node: options.Node = None,
    no_mqtt: options.NoMqtt = False,
) -> None:
    """Serve studies in the foreground of this terminal or unit. SIGTERM stops it, SIGHUP reloads the settings."""
    import asyncio
    import faulthandler

    from cnnbo.daemon.logs import set_up_logging
    from cnnbo.daemon.serve import serve
    from cnnbo.daemon.settings import LogForm

    faulthandler.enable()  # systemd's watchdog sends SIGABRT: the log then says what each thread was at
    set_up_logging(LogForm.TEXT)  # what is said of the settings themselves
    settings = options.settings(state, node, no_mqtt)
    set_up_logging(settings.log)
    asyncio.run(serve(settings, devices or "auto", _ready, lambda: options.settings(state, node, no_mqtt)))


async def _ready(daemon: "Daemon") -> None:
    import logging

    from cnnbo.daemon.supervised import tell_ready

    await tell_ready()
    logging.getLogger("cnnbo").info("ready: state %s. %s", daemon.state, daemon.note)
