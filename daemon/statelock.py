"""The lock of a state folder: one daemon works in it, or one command in the place of a daemon."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cnnbo.daemon.journal import too_full
from cnnbo.scheduler.errors import ConfigurationError

LOCK_NAME = "lock"


@contextmanager
def state_lock(state: Path) -> Iterator[None]:
    """Hold the state folder for one daemon; the kernel lets go of it however this process ends.

    Raises:
        ConfigurationError: another process holds it, or the folder can't be used.
        NotReadyError: its disk is full.
    """
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (state / LOCK_NAME).open("a+")
    except OSError as error:
        raise ConfigurationError(f"{state}: {error.strerror}; choose another folder: --state DIR.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise ConfigurationError(
                f"{state}: another daemon (pid {holder}) works in this state folder; "
                "talk to that one, or use another --state folder."
            ) from None
        try:
            file.truncate(0)
            os.write(file.fileno(), str(os.getpid()).encode())  # unbuffered: nothing is left for close() to fail with
        except OSError as error:
            raise too_full(state) from error
        yield
