"""Bringing the journal of an older cnnbo to the format of this one: as a whole, or not at all."""

import logging
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from cnnbo.daemon.journal.disk import RESERVE_BYTES, free_bytes, is_full
from cnnbo.daemon.journal.migrations import create_tables, migrate, note_version
from cnnbo.daemon.journal.reading import read_studies
from cnnbo.daemon.journal.schema import copy_path, known_format
from cnnbo.models.files import replacing
from cnnbo.scheduler.codec import FORMAT_VERSION
from cnnbo.scheduler.errors import NotReadyError

log = logging.getLogger(__name__)


def bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    """Make a journal's tables if it is new, and bring it to the newest format if it is of an older one.

    An older file is copied first, and changed in one transaction that is committed only if its studies replay.

    Args:
        connection: to the journal, in no transaction.
        path: of the journal, whose folder nobody else writes to.

    Raises:
        ConfigurationError: it is of a newer cnnbo.
        NotReadyError: there is no space to upgrade it.
        sqlite3.Error, ValueError: it is no journal, or is damaged.
    """
    if not connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'meta'").fetchone()[0]:
        connection.execute("BEGIN IMMEDIATE")
        create_tables(connection)
        connection.execute("COMMIT")
    elif (found := known_format(connection, path)) < FORMAT_VERSION:
        _upgrade(connection, path, found)
    else:
        note_version(connection)


def _upgrade(connection: sqlite3.Connection, path: Path, found: int) -> None:
    size = sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*"))
    needed = 2 * size + RESERVE_BYTES  # the copy, and at most as much again for what changes
    if free_bytes(path.parent) < needed:
        raise _no_space(path, found, needed)
    try:
        copy = _keep_copy(connection, path, found)
        _change(connection)
    except (OSError, sqlite3.OperationalError) as error:
        if isinstance(error, sqlite3.OperationalError) and not is_full(error):
            raise
        raise _no_space(path, found, needed) from error
    log.warning(
        "%s was of format %d, from an older cnnbo, and is of format %d now; as it was it lies in %s.",
        *(path, found, FORMAT_VERSION, copy),
    )


def _no_space(path: Path, found: int, needed: int) -> NotReadyError:
    need = f"{(needed >> 20) + 1} MiB"
    return NotReadyError(
        f"{path}: is of format {found}, from an older cnnbo; to upgrade it and keep a copy, free at least {need} "
        "there. Nothing was changed."
    )


def _keep_copy(connection: sqlite3.Connection, path: Path, found: int) -> Path:
    """Copy the journal as it is to a file beside it; it is there as a whole or not at all."""
    target = copy_path(path, found)
    for part in path.parent.glob(f".{target.name}-*"):  # of a daemon that was killed in this place
        part.unlink()
    with replacing(target) as file, closing(sqlite3.connect(file.name)) as copy:
        connection.backup(copy)
    return target


def _change(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        migrate(connection)
        read_studies(connection)
        connection.execute("COMMIT")
    except BaseException:
        # A failed COMMIT may have rolled back already.
        with suppress(sqlite3.OperationalError):
            connection.execute("ROLLBACK")
        raise
