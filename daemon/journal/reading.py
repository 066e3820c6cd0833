"""Reading a journal, with a daemon that writes it or without one; nothing is changed.

A journal of an older format is read through a copy in memory that is brought to the newest one.
"""

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cnnbo.daemon.board import Activity
from cnnbo.daemon.journal.migrations import create_tables, migrate
from cnnbo.daemon.journal.schema import JOURNAL_NAME, connect, known_format, readable, snapshot
from cnnbo.daemon.messages import rfc3339
from cnnbo.scheduler.codec import FORMAT_VERSION, decode_event
from cnnbo.scheduler.errors import CnnboError, ConfigurationError
from cnnbo.scheduler.events import Event
from cnnbo.scheduler.study import Study


@dataclass(frozen=True, slots=True)
class StoredStudy:
    """A study as the journal holds it.

    Attributes:
        key: its row, stable over its life; names may be used again after a deletion.
        study: rebuilt from its events.
    """

    key: int
    study: Study


def read_journal(state: Path) -> tuple[list[StoredStudy], list[dict[str, object]]]:
    """Read studies and last known devices of a state folder without a daemon; changes nothing.

    Raises:
        ConfigurationError: the file is no journal, is damaged, one of a newer version, or somebody else's.
    """
    path = state / JOURNAL_NAME
    if not _is_there(path):
        return [], []
    with _reading(path) as connection:
        devices = [_read_device(body) for (body,) in connection.execute("SELECT body FROM device ORDER BY uuid")]
        return read_studies(connection), devices


def read_events(state: Path, key: int) -> list[Event]:
    """Read the events of one study, oldest first, without a daemon; changes nothing.

    Args:
        state: the state folder.
        key: of the study, as `read_journal` gives it.

    Raises:
        ConfigurationError: see `read_journal`.
    """
    with _reading(state / JOURNAL_NAME) as connection:
        rows = connection.execute("SELECT seq, at, type, body FROM event WHERE study = ? ORDER BY seq", (key,))
        return [_read_event(*row) for row in rows]


def read_timeline(state: Path) -> list[tuple[Activity, float | None]]:
    """Read what the devices were up to without a daemon; changes nothing.

    Returns:
        each activity with when it ended, in seconds since the epoch; None = it didn't, so far. Those of a device in
        their order. A journal from before there was a timeline has none.

    Raises:
        ConfigurationError: see `read_journal`.
    """
    path = state / JOURNAL_NAME
    if not path.exists():
        return []
    with _reading(path) as connection:
        rows = connection.execute("SELECT begun, device, activity, reason, study, trial, ended FROM timeline")
        return [(Activity(_seconds(begun), *rest), ended and _seconds(ended)) for begun, *rest, ended in rows]


def read_studies(connection: sqlite3.Connection) -> list[StoredStudy]:
    """Rebuild the studies, deleted ones left out, inside the transaction that is open.

    Raises:
        ValueError: an event is missing, damaged or doesn't fit; nothing that happened is passed over.
    """
    _check_tables(connection)
    rows = connection.execute("SELECT id, name, deleted IS NULL FROM study ORDER BY id").fetchall()
    courses: dict[int, list[Event]] = {key: [] for key, _, is_there in rows if is_there}
    _read_courses(connection, courses, deleted=frozenset(key for key, _, is_there in rows if not is_there))
    return [StoredStudy(key, _rebuild(name, courses[key])) for key, name, is_there in rows if is_there]


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """One state of a journal, in the newest format."""
    with readable(path), closing(_opened(path)) as connection:
        if known_format(connection, path) == FORMAT_VERSION:
            with snapshot(connection):
                yield connection
            return
        with closing(connect(None)) as upgraded:
            connection.backup(upgraded)
            migrate(upgraded)
            with snapshot(upgraded):
                yield upgraded


def _opened(path: Path) -> sqlite3.Connection:
    """A connection to read by: to the file where a daemon has it open, else to a copy in memory.

    SQLite would make files beside one that is at rest, and leave them there. It doesn't where it is told that nobody
    writes; but should a daemon start meanwhile, what was read would be of two times.
    """
    if (before := _rest(path)) is not None:
        copy = connect(None)
        try:
            with closing(connect(path, "mode=ro&immutable=1")) as connection:
                connection.backup(copy)
        except sqlite3.Error:
            copy.close()
            if _rest(path) == before:
                raise
        else:
            if _rest(path) == before:
                return copy
            copy.close()
    return connect(path, "mode=ro")


def _rest(path: Path) -> tuple[int, int, int] | None:
    """What tells one state of a file from the next; None where a daemon has it open."""
    if path.with_name(f"{path.name}-wal").exists():
        return None
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _check_tables(connection: sqlite3.Connection) -> None:
    """Refuse a file in which the description of a table is damaged: SQLite would read other rows from it, or none."""
    with closing(connect(None)) as sound:
        create_tables(sound)
        for table in ("study", "event"):
            wanted, found = (set(each.execute(f"PRAGMA table_info ({table})")) for each in (sound, connection))
            if wanted - found:
                raise ValueError(f"the table {table} is damaged")


def _read_courses(connection: sqlite3.Connection, courses: dict[int, list[Event]], deleted: frozenset[int]) -> None:
    """Read the whole table in its order and append each event to its study's course.

    Without the index, which leaves events out where it is damaged. Numbers of what was committed have no gap, for a
    transaction that is rolled back takes its number with it; so an event that is missing is noticed.
    """
    newest = 0
    for number, study, at, kind, body in connection.execute(
        "SELECT seq, study, at, type, body FROM event NOT INDEXED ORDER BY seq"
    ):
        if number != newest + 1:
            raise ValueError(f"event {newest + 1} is missing")
        newest = number
        if study in courses:
            courses[study].append(_read_event(number, at, kind, body))
        elif study not in deleted:
            raise ValueError(f"event {number} is of a study that isn't there")
    told = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
    if newest != (0 if told is None else told[0]):
        raise ValueError(f"the events after number {newest} are missing")


def _read_event(number: int, at: str, kind: str, body: str) -> Event:
    try:
        event = decode_event(json.loads(body))
        is_itself = (kind, at) == (type(event).__name__, rfc3339(event.at))
    except (ValueError, TypeError, ArithmeticError, OSError, RecursionError) as error:
        raise ValueError(f"event {number} is damaged: {error}") from error
    if not is_itself:
        raise ValueError(f"event {number} is damaged: its columns say something else than its text")
    return event


def _rebuild(name: str, events: Sequence[Event]) -> Study:
    try:
        study = Study.replay(events)
    except (CnnboError, ValueError) as error:
        raise ValueError(f"study {name}: {error}") from error
    if study.name != name:
        raise ValueError(f"study {name}: its events are of a study {study.name}")
    return study


def _read_device(body: str) -> dict[str, object]:
    device = json.loads(body)
    if not isinstance(device, dict) or not isinstance(device.get("uuid"), str) or "state" not in device:
        raise ValueError("a device is damaged")
    return device


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _is_there(path: Path) -> bool:
    """Whether there is a journal, which this user may read.

    Raises:
        ConfigurationError: it may not be read.
    """
    try:
        if not path.exists():
            return False
        is_readable = os.access(path, os.R_OK)
    except PermissionError:  # nor may its folder
        is_readable = False
    if not is_readable:
        raise ConfigurationError(f"{path}: this is somebody else's; ask its owner, or name a --state folder of yours.")
    return True
