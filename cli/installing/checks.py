"""What stands against a service here; each is one sentence, told before anything is changed."""

import fcntl
import os
import sys
from pathlib import Path

import cnnbo
from cnnbo.cli.installing.accounts import service_account
from cnnbo.cli.installing.interpreter import check_interpreter
from cnnbo.cli.installing.place import Place
from cnnbo.cli.installing.plan import Facts
from cnnbo.cli.installing.systemctl import BOOTED, Systemctl
from cnnbo.daemon.folders import refuse_shared_mount
from cnnbo.scheduler.errors import ConfigurationError, RequestError


def check_rights(is_user: bool, verb: str) -> None:
    """See that who types this may change that service.

    Raises:
        RequestError: root is asked for, or asks for a service of its own.
    """
    if is_user and os.getuid() == 0:
        raise RequestError(
            f"--user is for people: root's own service would run every study as root; log in as the user, or leave "
            f"--user out: cnnbo service {verb}"
        )
    if not is_user and os.getuid() != 0:
        raise RequestError(
            f"the service of this box needs root; type: sudo {_own_command()} service {verb}, "
            "or --user for one of your own."
        )


def _own_command() -> str:
    """This very command: sudo looks for `cnnbo` in few places, and not in an environment."""
    command = Path(sys.prefix, "bin", "cnnbo")
    return str(command) if command.is_file() else f"{sys.executable} -m cnnbo"


def check_systemd(systemctl: Systemctl) -> None:
    """See that there is a systemd to talk to.

    Raises:
        RequestError: there is none, or none of this user.
    """
    if not BOOTED.is_dir():
        raise RequestError(
            "this machine wasn't booted with systemd, which runs services; in a container or elsewhere start the "
            "daemon by hand: cnnbo daemon"
        )
    if not systemctl.is_reachable:
        raise RequestError(
            "no systemd of yours runs now, as after `su` or `sudo -u`; log in, or let it run without a login: "
            "sudo loginctl enable-linger $USER"
        )


def check_place(place: Place, facts: Facts, systemctl: Systemctl) -> None:
    """See that the daemon could run there.

    Raises:
        ConfigurationError: its user can't run the interpreter; the settings have mistakes; the state folder is on a
            shared mount, or another daemon works in it.
    """
    if not place.is_user:
        account = service_account(facts.device_groups)
        check_interpreter(facts.python, Path(cnnbo.__file__).parent, account, place.account)
    state = place.state()
    refuse_shared_mount(state)
    holder = daemon_of(state)
    if holder is not None and holder != systemctl.show("MainPID")["MainPID"]:
        raise ConfigurationError(
            f"{state}: a daemon (pid {holder}) that isn't this service works in this state folder; end it first: "
            f"kill {holder}"
        )


def daemon_of(state: Path) -> str | None:
    """Pid of the daemon that works in a state folder, as it wrote it down; None where none does."""
    try:
        with (state / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
    except BlockingIOError:
        return (state / "lock").read_text().strip()
    except OSError:
        return None  # there is no such folder yet, or it is closed to us
