"""From each format of the journal to the next one: what an upgrade changes, and how a new journal is made.

A migration runs inside a transaction of its caller, with statements only, and is never changed once a release has it:
journals of every age go the same way. docs/architecture.md ("Upgrades") says what makes a new format.
"""

import json
import sqlite3
from collections.abc import Callable, Mapping
from typing import Final

from cnnbo import __version__
from cnnbo.daemon.journal.schema import FIRST_TABLES, format_of, run_script
from cnnbo.daemon.outbox import SCHEMA as OUTBOX_TABLES
from cnnbo.scheduler.codec import FORMAT_VERSION

# IF NOT EXISTS: before formats were counted, some journals of format 1 got some of these tables.
_TABLES_2: Final = """
CREATE TABLE IF NOT EXISTS device_event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    at TEXT NOT NULL,
    type TEXT NOT NULL,
    format INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE TRIGGER IF NOT EXISTS device_event_is_never_changed BEFORE UPDATE ON device_event
    BEGIN SELECT RAISE (ABORT, 'the device_event table is append-only'); END;
CREATE TRIGGER IF NOT EXISTS device_event_is_never_removed BEFORE DELETE ON device_event
    BEGIN SELECT RAISE (ABORT, 'the device_event table is append-only'); END;
CREATE TABLE IF NOT EXISTS receipt (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    verb TEXT NOT NULL,
    "transaction" TEXT NOT NULL,
    digest TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS activity (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    at TEXT NOT NULL,
    activity TEXT NOT NULL,
    reason TEXT,
    study TEXT,
    trial INTEGER
);
CREATE INDEX IF NOT EXISTS activity_device ON activity (device, seq);
CREATE VIEW IF NOT EXISTS timeline AS
    SELECT device, at AS begun, lead (at) OVER (PARTITION BY device ORDER BY seq) AS ended,
           activity, reason, study, trial
    FROM activity;
"""

# What devices as last seen told less of at first.
_DEVICE_2: Final = {
    "name": "unknown",
    "reason": None,
    "since": None,
    "study": None,
    "trial": None,
    "phase": None,
} | dict.fromkeys(("memory_used_mib", "memory_total_mib", "utilisation_percent", "temperature_c", "power_w"))


def _to_2(connection: sqlite3.Connection) -> None:
    """Events of devices, receipts of requests, the devices' timeline, and events that wait for the broker.

    With it come new kinds of events: trials that are retried, parts of comparisons.
    """
    run_script(connection, _TABLES_2 + OUTBOX_TABLES)
    devices = connection.execute("SELECT uuid, body FROM device ORDER BY uuid").fetchall()
    for index, (uuid, body) in enumerate(devices):
        device = {"index": index, **_DEVICE_2, **json.loads(body)}
        connection.execute("UPDATE device SET body = ? WHERE uuid = ?", (json.dumps(device), uuid))


_TABLES_3: Final = """
ALTER TABLE trial ADD COLUMN chance REAL;
ALTER TABLE trial ADD COLUMN at_chance INTEGER NOT NULL DEFAULT 0;
"""


def _to_3(connection: sqlite3.Connection) -> None:
    """Trials with what luck explains, and whether their value is no better.

    With it come asks that know such trials, and crashes that know their kind.
    """
    run_script(connection, _TABLES_3)


MIGRATIONS: Final[Mapping[int, Callable[[sqlite3.Connection], None]]] = {2: _to_2, 3: _to_3}
"""By the format that a migration leads to, from the one before it."""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a journal to the newest format, inside the transaction that is open.

    Raises:
        sqlite3.Error: it can't be changed.
        ValueError: it says no format.
    """
    for version in range(format_of(connection) + 1, FORMAT_VERSION + 1):
        MIGRATIONS[version](connection)
    connection.execute("UPDATE meta SET value = ? WHERE key = 'format'", (str(FORMAT_VERSION),))
    note_version(connection)


def note_version(connection: sqlite3.Connection) -> None:
    """Write down which cnnbo wrote last, for one that is older and can't read what it wrote."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('version', ?)", (__version__,))


def create_tables(connection: sqlite3.Connection) -> None:
    """Make a new journal of the newest format, inside the transaction that is open.

    Raises:
        sqlite3.Error: it can't be written.
    """
    run_script(connection, FIRST_TABLES)
    migrate(connection)
