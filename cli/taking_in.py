"""How the daemon that goes by a settings file gets to know that the file has changed."""

import os
from collections.abc import Mapping
from pathlib import Path


def how_to_take_in(state: Path, environ: Mapping[str, str], *, reloads: bool) -> str:
    """What to type now, as a sentence.

    Args:
        state: folder of the instance before the change.
        environ: the environment whose settings they are; the service's is not this one's.
        reloads: whether a reload is enough.
    """
    from cnnbo.cli.doctor.daemon import ask_in_time
    from cnnbo.daemon.client import NoDaemonError
    from cnnbo.daemon.folders import SERVICE_STATE
    from cnnbo.daemon.settings import SERVICE_CONFIG, config_file
    from cnnbo.scheduler.errors import CnnboError

    is_service = environ is not os.environ
    try:
        pid = ask_in_time(state, "status")["daemon"]["pid"]
    except NoDaemonError:
        pid = None
    except (CnnboError, TimeoutError):
        return _of_unit(is_service, reloads)
    if pid is None or (state == SERVICE_STATE and config_file(environ) != SERVICE_CONFIG):
        return "No daemon runs by these settings; the next one does."
    if pid == _pid_of_unit(is_service):
        return _of_unit(is_service, reloads)
    if reloads:
        return f"The running daemon takes it in at: kill -HUP {pid}"
    return f"The running daemon needs a restart for it: kill {pid}, then start it again; its studies go on."


def _pid_of_unit(is_service: bool) -> int:
    from cnnbo.cli.installing.systemctl import Systemctl

    return int(Systemctl.of(not is_service).show("MainPID")["MainPID"] or 0)


def _of_unit(is_service: bool, reloads: bool) -> str:
    unit = "cnnbo" if is_service else "--user cnnbo"
    if reloads:
        return f"The running daemon takes it in at: systemctl reload {unit}"
    return f"The running daemon needs a restart for it: systemctl restart {unit}"
