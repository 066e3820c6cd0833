"""The rows of a journal's tables, and how they are written."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cnnbo.daemon.board import Activity
from cnnbo.daemon.messages import rfc3339
from cnnbo.scheduler.codec import FORMAT_VERSION, encode_event
from cnnbo.scheduler.events import DeviceEvent, DevicesLimited, Event
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Trial

RECEIPTS_KEPT = 2000
"""So many of the newest requests are known as carried out."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Says that a request was carried out: journalled in the transaction of its effect, so both are there or none.

    Attributes:
        verb, transaction: what the request was called; the transaction as JSON, since 1 and "1" are two.
        digest: of its arguments.
    """

    verb: str
    transaction: str
    digest: str


def insert_study(connection: sqlite3.Connection, study: Study) -> int:
    """Add a study; returns its key."""
    columns = _study_columns(study)
    names = ", ".join(columns)
    marks = ", ".join("?" for _ in columns)
    cursor = connection.execute(f"INSERT INTO study ({names}) VALUES ({marks})", tuple(columns.values()))
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def update_study(connection: sqlite3.Connection, key: int, study: Study) -> None:
    """Have a study's row say what the study has become."""
    columns = _study_columns(study)
    sets = ", ".join(f"{name} = ?" for name in columns)
    connection.execute(f"UPDATE study SET {sets} WHERE id = ?", (*columns.values(), key))


def insert_event(connection: sqlite3.Connection, key: int, event: Event) -> None:
    """Add an event of a study."""
    connection.execute(
        "INSERT INTO event (study, at, type, format, body) VALUES (?, ?, ?, ?, ?)",
        (key, rfc3339(event.at), type(event).__name__, FORMAT_VERSION, json.dumps(encode_event(event))),
    )


def insert_device_event(connection: sqlite3.Connection, event: DeviceEvent) -> None:
    """Add an event of a device, or of all of them."""
    # What is said of all devices stands under a name that no device has.
    device = "" if isinstance(event, DevicesLimited) else event.device
    connection.execute(
        "INSERT INTO device_event (device, at, type, format, body) VALUES (?, ?, ?, ?, ?)",
        (device, rfc3339(event.at), type(event).__name__, FORMAT_VERSION, json.dumps(encode_event(event))),
    )


def insert_receipt(connection: sqlite3.Connection, receipt: Receipt | None) -> None:
    """Add the receipt of a request, if there is one, and forget the oldest ones."""
    if receipt is None:
        return
    row = (receipt.verb, receipt.transaction, receipt.digest)
    newest = connection.execute('INSERT INTO receipt (verb, "transaction", digest) VALUES (?, ?, ?)', row).lastrowid
    connection.execute("DELETE FROM receipt WHERE seq <= ?", ((newest or 0) - RECEIPTS_KEPT,))


def insert_trials(connection: sqlite3.Connection, key: int, trials: Sequence[Trial]) -> None:
    """Add trials of a study with their attempts, in place of what was there of them."""
    connection.executemany(
        "INSERT OR REPLACE INTO trial VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [_trial_row(key, trial) for trial in trials],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO attempt VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (key, trial.id, a.n, a.device, rfc3339(a.started), rfc3339(a.ended), a.outcome)
            for trial in trials
            for a in trial.attempts
        ],
    )


def insert_devices(connection: sqlite3.Connection, devices: Sequence[Mapping[str, object]], at: float) -> None:
    """Add devices as they were last seen, at a time in seconds since the epoch."""
    rows = [(device["uuid"], rfc3339(at), json.dumps(device)) for device in devices]
    connection.executemany("INSERT INTO device VALUES (?, ?, ?)", rows)


def insert_activities(connection: sqlite3.Connection, activities: Sequence[Activity]) -> None:
    """Add to the devices' timeline."""
    rows = [(a.device, rfc3339(a.at), a.activity, a.reason, a.study, a.trial) for a in activities]
    connection.executemany(
        "INSERT INTO activity (device, at, activity, reason, study, trial) VALUES (?, ?, ?, ?, ?, ?)", rows
    )


def _study_columns(study: Study) -> dict[str, object]:
    best = study.incumbent
    return {
        "name": study.name,
        "created": rfc3339(study.created_at),
        "state": str(study.state),
        "reason": study.reason,
        "archived": int(study.is_archived),
        "owner": study.spec.origin.owner,
        "evaluations": study.spec.evaluations,
        "finished": study.finished,
        "best_trial": None if best is None else best.id,
        "best_value": None if best is None else best.value,
    }


def _trial_row(key: int, trial: Trial) -> tuple[object, ...]:
    failure = None if trial.failure is None else str(trial.failure)
    configuration = json.dumps(dict(trial.configuration))
    kept = (key, trial.id, str(trial.state), trial.value, failure, str(trial.source), configuration, trial.message)
    return (*kept, trial.chance, int(trial.at_chance))
