"""Carrying out a removal."""

import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

from cnnbo.cli.installing.accounts import exists
from cnnbo.cli.installing.checks import daemon_of
from cnnbo.cli.installing.removal import RemovalPlan
from cnnbo.cli.installing.systemctl import Systemctl
from cnnbo.scheduler.errors import ConfigurationError, RequestError

Say = Callable[[str], None]


def remove(plan: RemovalPlan, systemctl: Systemctl, say: Say) -> None:
    """Take away what was planned; what was interrupted is gone on with by the next uninstall.

    Raises:
        RequestError: a command failed.
        ConfigurationError: something can't be removed; another daemon works in a folder that is to go.
    """
    place = plan.place
    for command in plan.before:
        _run(command, systemctl, say)
    for folder in plan.folders:
        if holder := daemon_of(folder):
            raise ConfigurationError(f"{folder}: a daemon (pid {holder}) works in it; end it first: kill {holder}")
    try:
        # The manifest last: until then it tells the next uninstall what is left to do.
        _unlink([path for path in plan.files if path != place.manifest], say)
        if systemctl.is_reachable:
            systemctl.run(systemctl.command("daemon-reload"))
            systemctl.forget_failure()
        for folder in plan.folders:
            _remove_folder(folder, say)
        for command in plan.after:
            if command[0] != "groupdel" or exists("group"):  # userdel takes the user's own group along
                _run(command, systemctl, say)
        _unlink([path for path in plan.files if path == place.manifest], say)
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename} can't be removed ({error.strerror}); see to that, and run it again."
        ) from error
    for folder in plan.emptied:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    for sentence in plan.kept:
        say(f"kept     {sentence}")


def _unlink(paths: list[Path], say: Say) -> None:
    for path in paths:
        if os.path.lexists(path):  # `disable` has removed one of them
            path.unlink()
            say(f"removed  {path}")


def _remove_folder(folder: Path, say: Say) -> None:
    if folder.is_symlink():
        target = folder.readlink()
        folder.unlink()
        say(f"removed  {folder}, a link; what it led to stays: {target}")
    elif folder.is_dir():
        shutil.rmtree(folder)  # it follows no link, not even one that is put there while it works
        say(f"removed  {folder}")


def _run(command: tuple[str, ...], systemctl: Systemctl, say: Say) -> None:
    try:
        systemctl.run(command)
    except RequestError as error:
        if command[0] != "loginctl":
            raise
        say(f"note     {error}; type: sudo {shlex.join(command)}")
        return
    say(f"ran      {shlex.join(command)}")
