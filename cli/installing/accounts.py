"""The users and groups of this box."""

import grp
import os
import pwd
from collections.abc import Callable, Collection

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


def service_account(device_groups: Collection[str]) -> Account:
    """The user `cnnbo` with the groups that the unit adds; nobody in particular where it isn't made yet."""
    gids = {grp.getgrnam(group).gr_gid for group in device_groups}
    if not exists("user"):
        return Account(None, gids)
    user = pwd.getpwnam(ACCOUNT)
    return Account(user.pw_uid, {*gids, *os.getgrouplist(user.pw_name, user.pw_gid)})
