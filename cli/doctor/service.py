"""The units of systemd: whether they run and start at boot, with which settings, and what of the studies they see."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from cnnbo.cli.doctor.finding import Finding, fail, ok, warn
from cnnbo.cli.doctor.scope import Scope
from cnnbo.cli.doctor.service_settings import check_service_settings
from cnnbo.cli.doctor.state import owner_of
from cnnbo.cli.installing.place import ACCOUNT
from cnnbo.scheduler.errors import CnnboError
from cnnbo.scheduler.spec import StudySpec

_PROPERTIES: Final = (
    *("LoadState", "UnitFileState", "ActiveState", "User"),
    *("ProtectHome", "ReadWritePaths", "BindPaths"),
)
_HOMES: Final = (Path("/home"), Path("/root"), Path("/run/user"))
"""What ProtectHome is about, see systemd.exec(5)."""

_ANSWER_S: Final = 5.0


def check_service(scope: Scope) -> Iterator[Finding]:
    """The service of this box with its settings, and the one of this user."""
    has_systemd = scope.places.systemd.exists()
    system = _unit(scope) if has_systemd else {}
    is_installed = system.get("LoadState") == "loaded"
    account = (system.get("User") or "root") if is_installed else ACCOUNT
    yield from check_service_settings(scope.places.service_settings, account)
    if not has_systemd:
        return
    if is_installed:
        yield _condition("the service cnnbo", system, "sudo systemctl", "cnnbo service status")
        yield from _homes(scope, system)
    user = _unit(scope, "--user")
    if user.get("LoadState") == "loaded":
        yield _condition("this user's service cnnbo", user, "systemctl --user", "cnnbo service status --user")
        yield _lingers(scope, owner_of(os.getuid()))


def _unit(scope: Scope, *options: str) -> Mapping[str, str]:
    """What systemd says of a unit; empty where it says nothing, as to somebody without a session."""
    command = [scope.places.systemctl, *options, "show", "cnnbo", "--property", ",".join(_PROPERTIES)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_ANSWER_S, stdin=subprocess.DEVNULL, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def _condition(what: str, unit: Mapping[str, str], systemctl: str, status: str) -> Finding:
    """Whether a unit runs, and starts at boot; what is on its way up or down runs."""
    state = unit.get("ActiveState", "unknown")
    if state == "failed":
        return fail("service", f"{what} has failed and does not run", status)
    if unit.get("UnitFileState") not in ("enabled", "enabled-runtime"):
        return warn("service", f"{what} is {state} now and does not start at boot", f"{systemctl} enable cnnbo")
    if state == "inactive":
        return warn("service", f"{what} starts at boot, and does not run now", f"{systemctl} start cnnbo")
    return ok("service", f"{what} starts at boot, and is {state} now")


def _lingers(scope: Scope, user: str) -> Finding:
    if (scope.places.linger / user).exists():
        return ok("linger", f"services of {user} run without anybody logged in")
    text = f"services of {user} end with the last session and don't start at boot (no linger)"
    return warn("linger", text, f"sudo loginctl enable-linger {user}")


# ---- what the service is kept from ----


def _homes(scope: Scope, unit: Mapping[str, str]) -> Iterator[Finding]:
    protection = unit.get("ProtectHome", "no")
    given = [Path(word.split(":", 1)[0].lstrip("-+")) for word in _words(unit, "ReadWritePaths", "BindPaths")]
    for study in _studies(scope):
        if protection in ("yes", "tmpfs"):
            yield from _hidden(study, given, protection)
        elif protection == "read-only":
            yield from _read_only(study, given)


def _words(unit: Mapping[str, str], *names: str) -> list[str]:
    return [word for name in names for word in unit.get(name, "").split()]


def _studies(scope: Scope) -> list[StudySpec]:
    """The one that was named, and those that the service goes on with."""
    from cnnbo.daemon.journal import read_journal

    try:
        stored, _ = read_journal(scope.settings.state)
    except CnnboError:
        stored = []
    going_on = [known.study.spec for known in stored if not known.study.state.is_ended and not known.study.is_archived]
    return ([] if scope.study is None else [scope.study]) + going_on


def _is_home(path: Path, given: list[Path]) -> bool:
    is_below = any(path.is_relative_to(home) for home in _HOMES)
    return is_below and not any(path.is_relative_to(open_to_it) for open_to_it in given)


def _hidden(study: StudySpec, given: list[Path], protection: str) -> Iterator[Finding]:
    """What the trials need to see; a link leads to where the interpreter's environment is."""
    needed = {"data folder": study.data_dir, "interpreter": study.origin.python if study.command else None}
    needed |= {"working folder": study.origin.cwd} if study.command else {}
    for what, place in needed.items():
        if place and _is_home(Path(place), given):
            text = f"the service can't see the {what} of study {study.name}, {place} (ProtectHome={protection})"
            yield fail("home", text, "sudo systemctl edit cnnbo, with the lines [Service] and ProtectHome=read-only")


def _read_only(study: StudySpec, given: list[Path]) -> Iterator[Finding]:
    """Only commands write beside themselves; built-in models have folders of their own."""
    if study.command and _is_home(Path(study.origin.cwd), given):
        place = study.origin.cwd
        text = f"the service can't write into the working folder of study {study.name}, {place} (ProtectHome=read-only)"
        fix = f"nothing, if its command doesn't; else sudo systemctl edit cnnbo: [Service] ReadWritePaths={place}"
        yield warn("home", text, fix)
