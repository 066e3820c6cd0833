"""Whether another user may run this interpreter: a virtual environment below /root works for root alone."""

import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from cnnbo.scheduler.errors import ConfigurationError

_MOST_LINKS = 40  # the kernel's own limit


@dataclass(frozen=True, slots=True)
class Account:
    """A user as the kernel sees one.

    Attributes:
        uid: None for a user who isn't there yet.
        gids: of all of the user's groups.
    """

    uid: int | None = None
    gids: Collection[int] = ()

    def may_execute(self, status: os.stat_result) -> bool:
        """Whether the user may run a file, or pass through a folder, by its mode; access lists are not looked at."""
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid in self.gids:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def check_interpreter(python: Path, package: Path, account: Account, name: str) -> None:
    """See that a user can run the interpreter, and get at the package.

    Args:
        python: absolute, as it stands in the unit; symlinks are followed one by one, as the kernel does.
        package: folder of cnnbo.
        account: the user.
        name: of the user, for the sentence.

    Raises:
        ConfigurationError: which folder is closed, and the remedy.
    """
    for path in (python, package):
        for passed in _way(path):
            if not account.may_execute(passed.stat()):
                raise ConfigurationError(
                    f"{path} can't be used by the user {name}, since {passed} is closed to others; install cnnbo where "
                    "everybody gets to, and run it from there: python3 -m venv /opt/cnnbo && "
                    "/opt/cnnbo/bin/pip install 'cnnbo[bo,svhn]' && /opt/cnnbo/bin/cnnbo service install"
                )


def _way(path: Path) -> Iterator[Path]:
    """Every folder that the kernel passes on the way to a path, and at last what it leads to."""
    left, at = list(path.parts[1:]), Path("/")
    links = 0
    while left:
        yield at
        step = left.pop(0)
        if step == "..":
            at = at.parent
            continue
        target = at / step
        if not target.is_symlink():
            at = target
            continue
        links += 1
        if links > _MOST_LINKS:
            raise ConfigurationError(f"{path} leads through too many links; name another interpreter.")
        pointed = target.readlink()
        left[:0] = pointed.parts[1:] if pointed.is_absolute() else pointed.parts
        at = Path("/") if pointed.is_absolute() else at
    yield at
