"""The state folder, its disk and its journal, the devices' leases, and what a dead daemon left running."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cnnbo.cli.doctor.daemon import ask_in_time
from cnnbo.cli.doctor.finding import Finding, fail, from_error, ok, warn
from cnnbo.cli.doctor.scope import Scope
from cnnbo.daemon.client import NoDaemonError
from cnnbo.daemon.folders import SERVICE_STATE, refuse_shared_mount
from cnnbo.daemon.journal import JOURNAL_NAME, RESERVE_BYTES, StoredStudy, read_journal
from cnnbo.daemon.processes import carriers, owner
from cnnbo.scheduler.errors import CnnboError, ConfigurationError
from cnnbo.scheduler.trial import TrialState

_NEEDED_BYTES: Final = 2 * RESERVE_BYTES  # without it no daemon starts, and a running one starts no trial
_LITTLE_BYTES: Final = 1 << 30  # a trial's log alone may grow to 50 MiB
_LITTLE_FILES: Final = 10_000  # a trial leaves about five
_OTHERS: Final = stat.S_IROTH | stat.S_IXOTH


def check_state(scope: Scope) -> Iterator[Finding]:
    """Folder, disk, journal, leases, leftovers."""
    state = scope.settings.state
    try:
        refuse_shared_mount(state, mountinfo=scope.places.mountinfo)
    except ConfigurationError as error:
        for finding in from_error("state", error):
            yield fail("state", finding.text, _elsewhere(state, "local"))
        return
    yield _folder(state)
    yield from _disk(state)
    yield from _journal(state)
    yield from _leases(scope.settings.lease_dir, scope.places.temporary)


def _nearest(path: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    return next(folder for folder in (path, *path.parents) if os.path.lexists(folder))


def _folder(state: Path) -> Finding:
    nearest = _nearest(state)
    if not nearest.is_dir():
        return fail("state", f"state folder {state} is a file, or lies below one", "choose another one: --state DIR")
    is_writable = os.access(nearest, os.W_OK | os.X_OK) and not os.statvfs(nearest).f_flag & os.ST_RDONLY
    if nearest != state:
        if not is_writable:
            text = f"state folder {state} can't be made in {nearest}, which is closed to this user"
            return fail("state", text, "choose another one: --state DIR")
        return ok("state", f"state folder {state} is not there yet; the first daemon makes it")
    status = state.stat()
    whose = owner_of(status.st_uid)
    if not is_writable:
        text = f"state folder {state} belongs to {whose}, and this user can't write there"
        return warn(
            "state",
            text,
            f"sudo -u {whose} cnnbo doctor --state {state} for the rest of it; or --state DIR for a daemon of yours",
        )
    if status.st_mode & _OTHERS:
        text = f"state folder {state} is open to every user of this box, and its journal holds environments, tokens too"
        return warn("state", text, f"chmod o= {state}")
    return ok("state", f"state folder {state} is on a local disk and belongs to {whose}")


def owner_of(uid: int) -> str:
    """The name of a user, or the number of one without a name."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _elsewhere(state: Path, needed: str) -> str:
    """Where else the state could be; where it is already would be no remedy."""
    if state.is_relative_to(SERVICE_STATE):
        return f"mount a {needed} disk there"
    return f"cnnbo config set state {SERVICE_STATE}   (or any local disk)"


def _disk(state: Path) -> Iterator[Finding]:
    folder = _nearest(state)
    free, entries = shutil.disk_usage(folder).free, os.statvfs(folder)
    if free < _NEEDED_BYTES:
        text = f"{_size(free)} free on the disk of {folder}, too little for a daemon to start a trial"
        yield fail("disk", text, f"free {_size(_NEEDED_BYTES)} there at least, or {_elsewhere(state, 'bigger')}")
    elif free < _LITTLE_BYTES:
        text = f"{_size(free)} free on the disk of {folder}; logs and checkpoints of trials may fill it"
        yield warn("disk", text, f"free some space there, or {_elsewhere(state, 'bigger')}")
    elif entries.f_files and entries.f_favail < _LITTLE_FILES:
        text = f"{entries.f_favail:,} more files fit on the disk of {folder} (inodes), about five for each trial"
        yield warn("disk", text, f"remove small files there, or {_elsewhere(state, 'bigger')}")
    else:
        yield ok("disk", f"{_size(free)} free on the disk of {folder}")


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count >> 20} MiB"


def _journal(state: Path) -> Iterator[Finding]:
    try:
        stored, _ = read_journal(state)
    except ConfigurationError as error:
        is_closed = isinstance(error.__cause__, PermissionError) or "somebody else's" in str(error)
        for finding in from_error("journal", error):
            fix = f"sudo -u {_owner_at(state)} cnnbo doctor --state {state}" if is_closed else finding.fix or ""
            yield warn("journal", finding.text, fix) if is_closed else fail("journal", finding.text, fix)
        return
    if stored or (state / JOURNAL_NAME).exists():
        yield ok("journal", f"journal of {len(stored)} stud{'y' if len(stored) == 1 else 'ies'}, whole and readable")
        yield from _leftovers(state, stored)


def _owner_at(path: Path) -> str:
    return owner_of(_nearest(path).stat().st_uid)


def _leftovers(state: Path, stored: list[StoredStudy]) -> Iterator[Finding]:
    """Processes of trials whose daemon is gone. A runner ends them with it, unless it was killed, too."""
    running = [trial for known in stored for trial in known.study.trials if trial.state is TrialState.RUNNING]
    tokens = [trial.attempts[-1].token for trial in running if trial.attempts[-1].token]
    if not tokens or _has_daemon(state):
        return
    if pids := carriers(tokens):
        named = ", ".join(f"{pid} ({owner(pid) or 'ended'})" for pid in pids[:5]) + (" ..." if len(pids) > 5 else "")
        text = f"{len(pids)} process{'' if len(pids) == 1 else 'es'} of trials whose daemon is gone: {named}"
        yield warn(
            "leftovers", text, f"cnnbo daemon --state {state} ends them and goes on; or kill {' '.join(map(str, pids))}"
        )


def _has_daemon(state: Path) -> bool:
    try:
        ask_in_time(state, "ping")
    except NoDaemonError:
        return False
    except (CnnboError, TimeoutError):  # there is one, however it is
        return True
    return True


def _leases(folder: Path, temporary: tuple[Path, ...]) -> Iterator[Finding]:
    elsewhere = "cnnbo config set lease_dir DIR, a local folder that all users of these devices can write"
    nearest = _nearest(folder)
    if not nearest.is_dir():
        yield fail("leases", f"lease folder {folder} is a file, or lies below one", elsewhere)
    elif not os.access(nearest, os.W_OK | os.X_OK) or os.statvfs(nearest).f_flag & os.ST_RDONLY:
        yield fail("leases", f"lease folder {folder} can't be written by this user, so no trial could start", elsewhere)
    elif any(map(folder.is_relative_to, temporary)):
        text = f"lease folder {folder} may be another one to each service (PrivateTmp), so two could share a device"
        yield warn("leases", text, elsewhere)
    elif nearest == folder and not folder.stat().st_mode & stat.S_IWOTH and os.geteuid() != 0:
        text = f"lease folder {folder} is closed to other users, whose trials then could run on the same device"
        yield warn("leases", text, f"chmod 1777 {folder}, or {elsewhere}")
    elif closed := _closed_leases(folder):
        text = f"leases that this user can't open: {', '.join(closed)}; their devices get no trial of ours"
        yield warn("leases", text, f"their owner types: chmod 644 {folder}/cnnbo-*")
    else:
        yield ok("leases", f"lease folder {folder} can be written")


def _closed_leases(folder: Path) -> list[str]:
    return [path.name for path in sorted(folder.glob("cnnbo-*")) if not os.access(path, os.R_OK)]
