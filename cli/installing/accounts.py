"""The users and groups of this box."""

import grp
import os
import pwd
import stat
from collections.abc import Callable, Collection
from pathlib import Path

from cnnbo.cli.installing.interpreter import Account
from cnnbo.cli.installing.place import ACCOUNT


def exists(kind: str, name: str = ACCOUNT) -> bool:
    """Whether this box has a `user` or a `group` of that name."""
    look: Callable[[str], object] = pwd.getpwnam if kind == "user" else grp.getgrnam
    try:
        look(name)
    except KeyError:
        return False
    return True


def left_by(paths: Collection[Path]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Which of these belong to the user `cnnbo`, and which to its group; links count themselves."""
    return _of(paths, "user", "st_uid"), _of(paths, "group", "st_gid")


def _of(paths: Collection[Path], kind: str, owner: str) -> tuple[Path, ...]:
    if not exists(kind):
        return ()
    number = pwd.getpwnam(ACCOUNT).pw_uid if kind == "user" else grp.getgrnam(ACCOUNT).gr_gid
    return tuple(path for path in paths if getattr(path.lstat(), owner) == number)


def is_closed_to_service(path: Path) -> bool:
    """Whether the user `cnnbo`, made or not, can't read a file by owner, group and mode."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_mode & stat.S_IROTH:
        return False
    if exists("user") and status.st_uid == pwd.getpwnam(ACCOUNT).pw_uid:
        return False
    is_of_group = exists("group") and status.st_gid == grp.getgrnam(ACCOUNT).gr_gid
    return not (is_of_group and status.st_mode & stat.S_IRGRP)


def service_account(device_groups: Collection[str]) -> Account:
    """The user `cnnbo` with the groups that the unit adds; nobody in particular where it isn't made yet."""
    gids = {grp.getgrnam(group).gr_gid for group in device_groups}
    if not exists("user"):
        return Account(None, gids)
    user = pwd.getpwnam(ACCOUNT)
    return Account(user.pw_uid, {*gids, *os.getgrouplist(user.pw_name, user.pw_gid)})
