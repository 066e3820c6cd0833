"""The settings file of the box's service, which the daemon reads at its next start or reload."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cnnbo.cli.doctor.finding import Finding, fail, from_error, ok
from cnnbo.cli.doctor.state import owner_of
from cnnbo.daemon.folders import SERVICE_STATE
from cnnbo.daemon.settings import load_settings
from cnnbo.daemon.settings.load import is_there
from cnnbo.scheduler.errors import ConfigurationError

_ANSWER_S: Final = 5.0


def check_service_settings(file: Path, user: str) -> Iterator[Finding]:
    """Whether the service could start with its settings file, and may read it.

    Args:
        file: the settings file; where it is missing, the defaults hold.
        user: as whom the service runs.
    """
    if not is_there(file):
        return
    if not _can_read(file, user):
        text = f"the service's settings file {file} can't be read by its user {user}, so it won't start again"
        both = f"{file.parent} {file}"
        yield fail("settings", text, f"sudo chgrp {user} {both} && sudo chmod g+rX {both}")
    if not os.access(file, os.R_OK):  # not for the eyes of whoever looks
        return
    try:  # with what systemd sets for the unit, and nothing of whoever looks
        load_settings({"CNNBO_CONFIG": str(file), "STATE_DIRECTORY": str(SERVICE_STATE)})
    except ConfigurationError as error:
        yield from from_error("settings", error)
    else:
        yield ok("settings", f"the service's settings file {file} has no mistakes")


def _can_read(file: Path, user: str) -> bool:
    """False if it is known that the user can't: only root, or the user, can ask the kernel, which knows of ACLs."""
    import pwd

    if os.geteuid() != 0:
        return owner_of(os.geteuid()) != user or os.access(file, os.R_OK)
    try:
        account = pwd.getpwnam(user)
    except KeyError:  # nobody has installed the service yet
        return True
    try:
        asked = subprocess.run(
            ["test", "-r", file], user=account.pw_uid, group=account.pw_gid,
            extra_groups=os.getgrouplist(user, account.pw_gid), cwd="/", timeout=_ANSWER_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):  # a container in which not even root becomes somebody else
        return True
    return asked.returncode == 0
