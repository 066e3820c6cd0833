"""What a journal's file is: its first tables, how it is opened, and of which format it says it is."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cnnbo import __version__
from cnnbo.scheduler.codec import FORMAT_VERSION
from cnnbo.scheduler.errors import ConfigurationError

JOURNAL_NAME = "journal.sqlite"

FIRST_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE study (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    created TEXT NOT NULL,
    deleted TEXT,
    state TEXT NOT NULL,
    reason TEXT,
    archived INTEGER NOT NULL,
    owner TEXT NOT NULL,
    evaluations INTEGER NOT NULL,
    finished INTEGER NOT NULL,
    best_trial INTEGER,
    best_value REAL
);
CREATE UNIQUE INDEX study_name ON study (name) WHERE deleted IS NULL;
CREATE TABLE event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    study INTEGER NOT NULL REFERENCES study (id),
    at TEXT NOT NULL,
    type TEXT NOT NULL,
    format INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX event_study ON event (study, seq);
CREATE TRIGGER event_is_never_changed BEFORE UPDATE ON event
    BEGIN SELECT RAISE (ABORT, 'the event table is append-only'); END;
CREATE TRIGGER event_is_never_removed BEFORE DELETE ON event
    BEGIN SELECT RAISE (ABORT, 'the event table is append-only'); END;
CREATE TABLE trial (
    study INTEGER NOT NULL REFERENCES study (id),
    id INTEGER NOT NULL,
    state TEXT NOT NULL,
    value REAL,
    failure TEXT,
    source TEXT NOT NULL,
    configuration TEXT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (study, id)
) WITHOUT ROWID;
CREATE TABLE attempt (
    study INTEGER NOT NULL,
    trial INTEGER NOT NULL,
    n INTEGER NOT NULL,
    device TEXT NOT NULL,
    started TEXT NOT NULL,
    ended TEXT,
    outcome TEXT,
    PRIMARY KEY (study, trial, n)
) WITHOUT ROWID;
CREATE TABLE device (uuid TEXT PRIMARY KEY, seen TEXT NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('format', '1');
"""
"""Those of format 1, as they will always be; `migrations` has what came later."""


def connect(path: Path | None, options: str = "mode=rwc") -> sqlite3.Connection:
    """Open a journal's file, or one in memory (None).

    Args:
        path: of the file.
        options: of SQLite's URI.

    Raises:
        sqlite3.Error: it can't be opened.
    """
    where = ":memory:" if path is None else f"{path.absolute().as_uri()}?{options}"
    # isolation_level None: transactions are begun and ended by hand, where they can be seen.
    connection = sqlite3.connect(where, uri=True, isolation_level=None, check_same_thread=False, timeout=10)
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def run_script(connection: sqlite3.Connection, script: str) -> None:
    """Run statements inside the transaction that is open; `executescript` would commit it first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """Read one state of the file, though a daemon may be writing it."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        with suppress(sqlite3.Error):  # a damaged file may have ended it
            connection.execute("ROLLBACK")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Say in one sentence what is wrong with a file that was damaged or is no journal.

    Raises:
        ConfigurationError: the block found it so.
    """
    try:
        yield
    except (sqlite3.DatabaseError, ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ConfigurationError(
            f"{path}: can't be read as a journal ({reason}); restore it from a backup, or use another --state folder."
        ) from error


def format_of(connection: sqlite3.Connection) -> int:
    """The format that a journal says it is of, 1 or more.

    Raises:
        ValueError: it says none.
    """
    row = connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
    if row is None or int(row[0]) < 1:
        raise ValueError("it doesn't say its format")
    return int(row[0])


def known_format(connection: sqlite3.Connection, path: Path) -> int:
    """The format of a journal that this cnnbo knows.

    Raises:
        ConfigurationError: a newer cnnbo wrote it.
        ValueError: it says no format.
    """
    found = format_of(connection)
    if found <= FORMAT_VERSION:
        return found
    row = connection.execute("SELECT value FROM meta WHERE key = 'version'").fetchone()
    writer = "" if row is None else f" {row[0]}"
    copy = copy_path(path, FORMAT_VERSION)
    rest = f", or go back to {copy}, the copy from before that upgrade" if copy.exists() else ""
    raise ConfigurationError(
        f"{path}: this journal is of a newer cnnbo{writer} (format {found}; this one, {__version__}, knows them up to "
        f"{FORMAT_VERSION}); install cnnbo{writer or ' of that version'} or later, use another --state folder{rest}."
    )


def copy_path(path: Path, version: int) -> Path:
    """Where the copy of a journal lies that was kept before it was brought from a format to a newer one."""
    return path.with_name(f"{path.stem}.v{version}{path.suffix}")
