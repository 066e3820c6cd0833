"""Carrying out what was planned, and starting the service."""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

from cnnbo import __version__
from cnnbo.cli.installing.plan import InstallPlan
from cnnbo.cli.installing.running import Running
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
    if plan.is_done:
        say("nothing to do: everything is as it should be.")


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


def start(plan: InstallPlan, systemctl: Systemctl, say: Say) -> None:
    """Start the service, or restart it where it runs by something older; wait until it is ready.

    Raises:
        RequestError: it doesn't get ready; with the reason and its last lines.
    """
    before = Running.look(plan.place, systemctl)
    if before.is_active:
        why = _why_restart(plan, before)
        if why is None:
            say(f"runs     {before.status or 'ready'}")
            return
        say(f"restart  {why}; trials that run get time for a checkpoint and go on afterwards")
    try:
        systemctl.run(systemctl.command("restart" if before.is_active else "start", plan.place.unit.name))
    except RequestError as error:
        raise RequestError(_complaint(systemctl)) from error
    say(f"ready    {Running.look(plan.place, systemctl).status}")


def _why_restart(plan: InstallPlan, before: Running) -> str | None:
    if any(file.path in (plan.place.unit, plan.place.config) for file in plan.changed):
        return "unit or configuration changed"
    if before.version not in (None, __version__):
        return f"cnnbo {before.version} runs, {__version__} is installed"
    return None


def _complaint(systemctl: Systemctl) -> str:
    told = systemctl.show("Result", "ExecMainStatus")
    lines = "".join(f"\n  | {line}" for line in systemctl.log_lines(8))
    return (
        f"the service is installed, but doesn't get ready ({told['Result']}, exit status {told['ExecMainStatus']}). "
        f"Its last lines:{lines}\nThen: {' '.join(systemctl.command('start', 'cnnbo'))}"
    )
