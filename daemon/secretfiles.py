"""Files that hold secrets, and who else can read them."""

import os
import stat
from pathlib import Path
from typing import Final

from cnnbo.scheduler.errors import ConfigurationError

_LIMIT: Final = 4096


def is_exposed(status: os.stat_result) -> bool:
    """Whether a file is open to people it shouldn't be open to.

    As ssh judges keys: on a file of one's own nobody else has any rights. A file of somebody else's, such as root's
    for a service, may be readable by the service's group, but not by everybody.
    """
    others = stat.S_IRWXG | stat.S_IRWXO if status.st_uid == os.getuid() else stat.S_IRWXO
    return bool(status.st_mode & others)


def refuse_exposed(path: Path, status: os.stat_result) -> None:
    """See that nobody else can read a file that is there for its secrets.

    Refused, as ssh refuses a key: a warning is read by nobody, and the remedy takes a moment.

    Raises:
        ConfigurationError: others can.
    """
    if is_exposed(status):
        raise ConfigurationError(
            f"{path} holds a password and others can read it (mode {stat.S_IMODE(status.st_mode):04o}); "
            f"type: chmod 600 {path}"
        )


def read_password(path: Path) -> str:
    """The password in a file, its only line.

    Raises:
        ConfigurationError: it can't be read, holds no password or more, or others can read it too.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            text = file.read(_LIMIT).decode()
    except OSError as error:
        raise ConfigurationError(
            f"password file {path} can't be read ({error.strerror}); check its path and owner."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"password file {path} is no text; write the password into it, on one line."
        ) from error
    refuse_exposed(path, status)
    password = text.removesuffix("\n").removesuffix("\r")
    if not password or not password.isprintable():
        raise ConfigurationError(f"password file {path} holds no password; write it into the file, on one line.")
    return password
