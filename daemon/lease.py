"""Leases: who may use a device, among all instances and users of one box.

A lease is a flock on one file per device. The kernel releases it with its last descriptor, so a dead holder never
leaves it taken. Only the trial runner takes it, and hands it to nobody: inherited by the trial, it would outlive both.

Nothing heavy is imported here: the trial runner uses it.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from cnnbo.scheduler.errors import ConfigurationError

# A pipe or a link that somebody planted in the shared folder can neither block nor mislead us.
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def lease_path(lease_dir: Path, uuid: str) -> Path:
    """The lease of a device: `<lease_dir>/cnnbo-<uuid>`; a slash in the id (old MIG ids hold some) becomes `_`."""
    return lease_dir / f"cnnbo-{uuid.replace('/', '_')}"


def _open(path: Path) -> int:
    """Open a lease file, made if missing.

    First without O_CREAT: in a sticky folder like /run/lock the kernel (fs.protected_regular) refuses O_CREAT on a
    file of another user, and reading is all that flock needs.
    """
    while True:
        try:
            return os.open(path, _OPEN)
        except FileNotFoundError:
            try:
                made = os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, 0o644)
            except FileExistsError:
                continue  # another instance was faster; use its file
            os.fchmod(made, 0o644)  # whatever the umask says, the other users of the box must be able to read it
            return made


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


class Lease:
    """A device's lease, held; use it as a context manager or call `release`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, path: Path) -> Self | None:
        """Take the lease at `path` without waiting; None if another process holds it.

        Raises:
            OSError: the file can't be opened or made.
        """
        while True:
            descriptor = _open(path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            if _is_at(path, descriptor):
                return cls(descriptor)
            os.close(descriptor)  # its last holder removed it meanwhile; whoever comes next opens another file

    @staticmethod
    def is_free(path: Path) -> bool:
        """Whether nobody holds the lease at `path`; a missing file is free.

        Asks by a shared lock for a moment, so two that ask don't take each other for a holder.

        Raises:
            ConfigurationError: the file exists but can't be opened.
        """
        try:
            descriptor = os.open(path, _OPEN)
        except FileNotFoundError:
            return True
        except OSError as error:
            raise ConfigurationError(
                f"{path}: the device's lease can't be opened ({error.strerror}); "
                "set lease_dir to a folder that every user of this box can read and write."
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    def release(self) -> None:
        """Let the device go; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
