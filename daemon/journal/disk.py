"""The disk below the journal: what is kept aside on it, and what is said when it is full."""

import shutil
import sqlite3
from pathlib import Path

from cnnbo.scheduler.errors import CnnboError, NotReadyError

RESERVE_NAME = "reserve"
RESERVE_BYTES = 16 * 1024 * 1024
"""Disk space kept aside, so that results of running trials can still be journalled when the disk is full."""

NEEDED_BYTES = 2 * RESERVE_BYTES
"""The reserve, and as much again for trials' files."""


class JournalFullError(CnnboError):
    """The disk is full and the reserve is spent; the event is not journalled and must be tried again."""


def too_full(state: Path) -> NotReadyError:
    """Why no daemon starts in a state folder without space, and what to do about it."""
    need = f"{NEEDED_BYTES >> 20} MiB"
    return NotReadyError(
        f"{state}: the disk is full; free at least {need} there, or choose another folder: --state DIR."
    )


def free_bytes(state: Path) -> int:
    """What this user may still write on the disk of a state folder, in bytes."""
    return shutil.disk_usage(state).free


def is_full(error: sqlite3.OperationalError) -> bool:
    """Whether SQLite failed for want of space."""
    # The low byte is the kind: of I/O errors there are many, of which a full disk may give the one or the other.
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
