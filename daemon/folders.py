"""The folders an instance works in: which one holds its state, and whether a folder will do."""

import errno
import logging
import os
import pwd
import re
import socket
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cnnbo.scheduler.errors import ConfigurationError, NotReadyError

SERVICE_STATE: Final = Path("/var/lib/cnnbo")
SERVICE_SOCKET: Final = Path("/run/cnnbo/control.sock")
SERVICE_UNIT: Final = Path("/etc/systemd/system/cnnbo.service")
SERVICE_GROUP: Final = "cnnbo"
_MOUNTINFO: Final = Path("/proc/self/mountinfo")
_ANSWER_TIMEOUT_S: Final = 1.0
_OTHERS: Final = stat.S_IROTH | stat.S_IXOTH

_log = logging.getLogger(__name__)

# Filesystems that several machines may write: SQLite's write-ahead log lives in memory that they do not share.
_SHARED: Final = re.compile(
    r"9p|afs|afs3|beegfs|ceph|cifs|coda|gfs2?|glusterfs|gpfs|lustre|ncpfs|nfs[34]?|ocfs2|orangefs|panfs|prl_fs|pvfs2"
    r"|smb|smb3|smbfs|vboxsf|vmhgfs|wekafs"
    r"|fuse\.(beegfs|ceph|ceph-fuse|davfs2?|gcsfuse|glusterfs|juicefs|mfs|moosefs|quobyte|rclone|s3fs|sshfs|vmhgfs-fuse)"
)


def default_node(hostname: str | None = None) -> str:
    """The name of this box in topics and paths: the first part of its host name, as [a-z0-9-]{1,40}.

    Example:
        >>> default_node("Tower_3.lab.example.org")
        'tower-3'
    """
    first = (socket.gethostname() if hostname is None else hostname).split(".", 1)[0]
    return re.sub(r"[^a-z0-9]+", "-", first.lower()).strip("-")[:40].strip("-") or "box"


def state_folder(
    explicit: Path | str | None,
    environ: Mapping[str, str],
    *,
    node: str | None = None,
    service_socket: Path = SERVICE_SOCKET,
    service_unit: Path = SERVICE_UNIT,
) -> Path:
    """The folder that holds the journal, the control socket and the files of the trials; it need not exist.

    Args:
        explicit: what the user named (`--state`, CNNBO_STATE, the setting `state`); relative to the working directory.
        environ: the environment: STATE_DIRECTORY (set by systemd), XDG_STATE_HOME, HOME.
        node: this box's name; default: see `default_node`.
        service_socket: where a service of this box listens.
        service_unit: what makes it one.

    Returns:
        absolute path: what was named; else systemd's folder; else the running service's, for root also where it is
        down; else the user's own. A
        service of one user, whom systemd tells no folder, works in the user's own.

    Raises:
        ConfigurationError: the user's own is meant, and the user has no home.
    """
    if explicit is not None:
        return Path(explicit).absolute()
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given.split(":", 1)[0])  # systemd lists several with colons
    # What systemd starts is no client: a user's own service, where it isn't told its folder by systemd.
    is_client = not environ.get("NOTIFY_SOCKET")
    if is_client and (_knock(service_socket) is None or (os.geteuid() == 0 and service_unit.exists())):
        return SERVICE_STATE
    base = user_folder(environ, "XDG_STATE_HOME", ".local/state")
    if base is None:
        raise ConfigurationError("There is no home folder to keep the state in; name a folder: --state DIR.")
    return base / "cnnbo" / (node or default_node())


def user_folder(environ: Mapping[str, str], variable: str, fallback: str) -> Path | None:
    """A user's base folder after the XDG rules, by which a relative path in the variable is ignored.

    Returns:
        absolute path; None for a user without a home, as containers have them.
    """
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - Path.expanduser raises where there is none
    given, default = Path(environ.get(variable, "")), Path(home) / fallback
    return given if given.is_absolute() else default if default.is_absolute() else None


def _knock(path: Path) -> OSError | None:
    """Why nobody lets us in at a socket; None = somebody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_ANSWER_TIMEOUT_S)
        try:
            connection.connect(str(path))
        except OSError as error:
            return error
    return None


def closed_service(service_socket: Path = SERVICE_SOCKET) -> str | None:
    """What to type where this box has a service that this user may not talk to; None where it hasn't, or they may."""
    if not isinstance(_knock(service_socket), PermissionError):
        return None
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = "NAME"
    return (
        "the cnnbo service of this box is for members of its group; have somebody type "
        f"`sudo usermod -aG {SERVICE_GROUP} {user}`, then log in again."
    )


def without_daemon(state: Path) -> str:
    """That no daemon answers in a state folder, and what to do about it."""
    status = "cnnbo service status"
    if state == SERVICE_STATE and SERVICE_UNIT.exists():
        return f"the cnnbo service of this box is down; start it: systemctl start cnnbo ({status} says why it is down)"
    sentence = f"no daemon answers in {state}; start one: cnnbo daemon --state {state}"
    if closed := closed_service():
        return f"{sentence} (or: {closed})"
    is_down = SERVICE_UNIT.exists() and _knock(SERVICE_SOCKET) is not None
    return f"{sentence} (or, if you mean the service of this box, which is down: {status})" if is_down else sentence


@dataclass(frozen=True, slots=True)
class ServiceFolders:
    """What systemd gives a service beside its state folder; None = it gives none.

    Attributes:
        runtime: where the control socket is, for members of the service's group.
        logs: where the logs of its own children are.
    """

    runtime: Path | None = None
    logs: Path | None = None


NO_FOLDERS: Final = ServiceFolders()


def service_folders(environ: Mapping[str, str]) -> ServiceFolders:
    """The folders in RUNTIME_DIRECTORY and LOGS_DIRECTORY; of several, the first."""
    runtime, logs = (environ.get(name, "").split(":", 1)[0] for name in ("RUNTIME_DIRECTORY", "LOGS_DIRECTORY"))
    return ServiceFolders(Path(runtime) if runtime else None, Path(logs) if logs else None)


def prepare_state_folder(path: Path, *, mountinfo: Path = _MOUNTINFO) -> None:
    """Make the state folder (mode 0700 where it is new) and see that the journal can be kept in it.

    Args:
        path: absolute path.
        mountinfo: see `refuse_shared_mount`.

    Raises:
        ConfigurationError: it is a file, on a shared mount, or can't be written; the sentence names the remedy.
        NotReadyError: there is no space for it now.
    """
    if path == SERVICE_STATE and SERVICE_UNIT.exists() and not os.environ.get("STATE_DIRECTORY"):
        raise ConfigurationError(
            f"{path} is the folder of this box's service, which is down; start it: systemctl start cnnbo, or name a "
            "folder of yours: --state DIR."
        )
    refuse_shared_mount(path, mountinfo=mountinfo)
    if problem := _make_writable(path, mode=0o700):
        raise ConfigurationError(f"state folder {path} {problem}; choose another one: --state DIR.")
    if path.stat().st_mode & _OTHERS:
        _log.warning(
            "state folder %s is open to every user of this box, and its journal holds the environment of whoever "
            "submits, tokens too; type: chmod o= %s",
            *(path, path),
        )


def prepare_lease_dir(path: Path) -> None:
    """See that leases can be made in a folder, and make it, open to every user, where it is missing.

    Raises:
        ConfigurationError: it is a file or can't be written; the sentence names the setting.
    """
    is_new = not path.exists()
    if problem := _make_writable(path, mode=0o777):
        remedy = "set lease_dir (or CNNBO_LEASE_DIR) to a local folder that all users of these devices can write"
        raise ConfigurationError(f"lease folder {path} {problem}; {remedy}.")
    if is_new:
        path.chmod(0o1777)  # like /run/lock: everybody may add a lease, nobody may remove another's


def _make_writable(path: Path, mode: int) -> str | None:
    """Make a folder and write into it; what went wrong, or None."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=mode, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):  # os.access knows neither read-only mounts nor full quotas
            return None
    except (FileExistsError, NotADirectoryError):
        return "is a file, or lies below one"
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise NotReadyError(f"{path}: the disk is full; free some space there, or name another folder.") from error
        return f"can't be written ({getattr(error, 'strerror', None) or error})"


def refuse_shared_mount(path: Path, *, mountinfo: Path = _MOUNTINFO) -> None:
    """See that a folder is on a disk of this box.

    Args:
        path: the folder; it and its parents need not exist.
        mountinfo: the kernel's list of mounts; where there is none (not Linux) nothing is refused.

    Raises:
        ConfigurationError: it is on NFS or another filesystem that machines share.
    """
    try:
        lines = mountinfo.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
    target = Path(os.path.realpath(path))
    point, kind = Path("/"), ""
    for candidate, filesystem in _mounts(lines):
        # A later mount covers an earlier one at the same point.
        if target.is_relative_to(candidate) and len(candidate.parts) >= len(point.parts):
            point, kind = candidate, filesystem
    if _SHARED.fullmatch(kind):
        raise ConfigurationError(
            f"state folder {path} is on {kind} (mounted at {point}), where the journal can't be kept safely; "
            f"choose a local disk: --state DIR, or CNNBO_STATE."
        )


def _mounts(lines: list[str]) -> Iterator[tuple[Path, str]]:
    """Mount points with their filesystems; the format is that of proc_pid_mountinfo(5)."""
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ", 1)[0]
        if len(fields) >= 5 and kind:
            yield Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])), kind
