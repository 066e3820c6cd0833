"""Taking in new settings while trials run: at SIGHUP, which `systemctl reload` sends."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from cnnbo.daemon.device_reader import DeviceReader
from cnnbo.daemon.living import Daemon
from cnnbo.daemon.logs import set_up_logging
from cnnbo.daemon.proposer import Proposer
from cnnbo.daemon.settings import Reload, Settings, reloaded
from cnnbo.daemon.shell import Shell
from cnnbo.daemon.speaker import Speaker, broker_of
from cnnbo.daemon.systemd import tell
from cnnbo.scheduler.errors import ConfigurationError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a daemon that go by its settings."""

    shell: Shell
    reader: DeviceReader
    proposer: Proposer
    speaker: Speaker


async def reload_at_hangups(daemon: Daemon, parts: Parts, reread: Callable[[], Settings]) -> None:
    """Take in new settings whenever somebody asks for it, until cancelled.

    Args:
        daemon: whose settings they are.
        parts: what goes by them.
        reread: gathers them anew.
    """
    while True:
        await daemon.hangup.wait()
        daemon.hangup.clear()
        await tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            await _reload(daemon, parts, reread)
        except ConfigurationError as error:
            for problem in error.problems:
                log.error("%s", problem)
            log.error("the settings were not reloaded; what held before still holds.")
        except Exception:  # it must not end the daemon, and its trials with it
            log.exception("a bug in cnnbo: the settings could not be reloaded; see which hold: cnnbo config show")
        await tell("READY=1")


async def _reload(daemon: Daemon, parts: Parts, reread: Callable[[], Settings]) -> None:
    reload = reloaded(daemon.settings, await asyncio.to_thread(reread))
    settings = reload.settings
    broker = await asyncio.to_thread(broker_of, settings)
    if "log" in reload.taken:
        set_up_logging(settings.log)
    parts.reader.take_settings(settings)
    parts.proposer.take_deadline(settings.proposer.deadline_s)
    parts.shell.take_limits(settings.devices, settings.slow_patience_s, settings.grace_s)
    is_another = await parts.speaker.change(settings, broker)
    has_new_password = is_another and settings.mqtt == daemon.settings.mqtt
    daemon.settings = settings
    _tell(reload, has_new_password)


def _tell(reload: Reload, has_new_password: bool) -> None:
    new = [*reload.taken, *(["the password in mqtt.password_file"] if has_new_password else [])]
    log.info("settings reloaded: %s.", f"new are {', '.join(new)}" if new else "nothing to take in")
    for name in reload.waiting:
        log.warning("%s has a new value, which needs a restart; the old one still holds.", name)
