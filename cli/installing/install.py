"""Carrying out what was planned."""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

from cnnbo.cli.installing.plan import InstallPlan
from cnnbo.cli.installing.systemctl import Systemctl
from cnnbo.scheduler.errors import ConfigurationError, RequestError

Say = Callable[[str], None]


def carry_out(plan: InstallPlan, systemctl: Systemctl, say: Say) -> None:
    """Make a box what was planned; what was interrupted is gone on with by the next install.

    Raises:
        RequestError: a command failed.
        ConfigurationError: a file can't be written.
    """
    try:
        for file in (plan.manifest, *plan.files):
            _make_folder(file.path.parent, is_open=not plan.place.is_user)
        plan.manifest.write(None)
        for command in plan.before:
            _run(command, systemctl, say)
        for path, copy in plan.saved:
            shutil.copy2(path, copy)
        for file in plan.files:
            file.write(None)
            if file.change != "kept":
                say(f"{file.change:<8} {file.path}")
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename} can't be written ({error.strerror}); see to that, and run it again."
        ) from error
    for command in plan.after:
        _run(command, systemctl, say)
    for note in plan.notes:
        say(f"note     {note}")


def _make_folder(path: Path, *, is_open: bool) -> None:
    """Make a folder and those above it, where they are missing; whatever root's umask is, the service has to get in."""
    if path.is_dir():
        return
    _make_folder(path.parent, is_open=is_open)
    path.mkdir()
    if is_open:
        path.chmod(0o755)


def _run(command: tuple[str, ...], systemctl: Systemctl, say: Say) -> None:
    try:
        systemctl.run(command)
    except RequestError:
        if command[0] != "loginctl":
            raise
        # Without rights to it the service works until the last logout: worth less, and no reason to stop.
        say(
            "note     it ends with your last session and isn't there after a reboot, until somebody types: "
            f"sudo {shlex.join(command)}"
        )
        return
    say(f"ran      {shlex.join(command)}")
