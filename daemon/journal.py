"""The journal: SQLite, one append-only table of events as the truth, and tables that people can query beside it.

Every event is committed (WAL, synchronous FULL) before it is acted on, together with the rows that follow from it.
One thread owns the connection; the event loop awaits it and never touches SQLite itself.
"""

import asyncio
import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

from cnnbo.daemon.board import Activity
from cnnbo.daemon.messages import rfc3339
from cnnbo.daemon.outbox import SCHEMA as OUTBOX_SCHEMA
from cnnbo.daemon.outbox import Outbox
from cnnbo.daemon.sinks.base import Message, StoredEvent, UnreadableEventsError
from cnnbo.scheduler.codec import FORMAT_VERSION, decode_device_event, decode_event, encode_event
from cnnbo.scheduler.errors import CnnboError, ConfigurationError, NotReadyError
from cnnbo.scheduler.events import DeviceEvent, DevicesLimited, Event
from cnnbo.scheduler.study import Study
from cnnbo.scheduler.trial import Trial

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

JOURNAL_NAME = "journal.sqlite"
RESERVE_NAME = "reserve"
RESERVE_BYTES = 16 * 1024 * 1024
"""Disk space kept aside, so that results of running trials can still be journalled when the disk is full."""

RECEIPTS_KEPT = 2000
"""So many of the newest requests are known as carried out."""

_NEEDED_BYTES = 2 * RESERVE_BYTES  # the reserve, and as much again for trials' files
_WAL_BYTES = 4 * 1024 * 1024  # where SQLite checkpoints by itself

_SCHEMA = """
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
"""

# Made in journals of every age, as nothing in them changes what was there before.
_DEVICE_SCHEMA = """
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

# A daemon that was killed could not say so: nobody watched its devices after the last thing it wrote down.
_END_ACTIVITIES = """
INSERT INTO activity (device, at, activity)
    SELECT device, (SELECT max (at) FROM (SELECT at FROM activity UNION ALL SELECT at FROM event)), 'off'
    FROM activity
    WHERE seq IN (SELECT max (seq) FROM activity GROUP BY device) AND activity <> 'off'
"""


class JournalFullError(CnnboError):
    """The disk is full and the reserve is spent; the event is not journalled and must be tried again."""


@dataclass(frozen=True, slots=True)
class StoredStudy:
    """A study as the journal holds it.

    Attributes:
        key: its row, stable over its life; names may be used again after a deletion.
        study: rebuilt from its events.
    """

    key: int
    study: Study


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


def _connect(path: Path, read_only: bool = False) -> sqlite3.Connection:
    # isolation_level None: transactions are begun and ended by hand, where they can be seen.
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    if read_only and not path.with_name(f"{path.name}-wal").exists():
        # At rest: no daemon has it open. SQLite would make files beside it all the same, and leave them there.
        uri += "&immutable=1"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=10)
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    row = connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
    if row is None:
        raise ValueError("it doesn't say its format")
    if (found := int(row[0])) > FORMAT_VERSION:
        raise ConfigurationError(
            f"{path}: this journal is of a newer cnnbo (format {found}, this one reads up to {FORMAT_VERSION}); "
            "install that version again, or start with another --state folder."
        )


def _check_tables(connection: sqlite3.Connection) -> None:
    """Refuse a file in which the description of a table is damaged: SQLite would read other rows from it, or none."""
    with closing(sqlite3.connect(":memory:")) as sound:
        sound.executescript(_SCHEMA)
        for table in ("study", "event"):
            wanted, found = (set(each.execute(f"PRAGMA table_info ({table})")) for each in (sound, connection))
            if wanted - found:
                raise ValueError(f"the table {table} is damaged")


@contextmanager
def _snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """Read one state of the file, though a daemon may be writing it."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        with suppress(sqlite3.Error):  # a damaged file may have ended it
            connection.execute("ROLLBACK")


def _read_studies(connection: sqlite3.Connection) -> list[StoredStudy]:
    """Rebuild the studies, deleted ones left out.

    Raises:
        ValueError: an event is missing, damaged or doesn't fit; nothing that happened is passed over.
    """
    with _snapshot(connection):
        _check_tables(connection)
        rows = connection.execute("SELECT id, name, deleted IS NULL FROM study ORDER BY id").fetchall()
        courses: dict[int, list[Event]] = {key: [] for key, _, is_there in rows if is_there}
        _read_events(connection, courses, deleted=frozenset(key for key, _, is_there in rows if not is_there))
    return [StoredStudy(key, _rebuild(name, courses[key])) for key, name, is_there in rows if is_there]


def _read_events(connection: sqlite3.Connection, courses: dict[int, list[Event]], deleted: frozenset[int]) -> None:
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


def read_journal(state: Path) -> tuple[list[StoredStudy], list[dict[str, object]]]:
    """Read studies and last known devices of a state folder without a daemon; changes nothing.

    Raises:
        ConfigurationError: the file is no journal, is damaged, one of a newer version, or somebody else's.
    """
    path = state / JOURNAL_NAME
    if not _is_there(path):
        return [], []
    with _readable(path), closing(_connect(path, read_only=True)) as connection:
        _check_format(connection, path)
        devices = [_read_device(body) for (body,) in connection.execute("SELECT body FROM device ORDER BY uuid")]
        return _read_studies(connection), devices


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
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'timeline'").fetchone():
            return []
        rows = connection.execute("SELECT begun, device, activity, reason, study, trial, ended FROM timeline")
        return [(Activity(_seconds(begun), *rest), ended and _seconds(ended)) for begun, *rest, ended in rows]


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    with _readable(path), closing(_connect(path, read_only=True)) as connection, _snapshot(connection):
        _check_format(connection, path)
        yield connection


def write_journal(
    path: Path,
    courses: Iterable[Sequence[Event]],
    devices: Sequence[Mapping[str, object]] = (),
    activities: Sequence[Activity] = (),
) -> None:
    """Write a whole journal at once, as one file that can travel: of studies that nobody goes on with here.

    Args:
        path: where to, in a folder that exists; nothing is there yet.
        courses: each study's events, oldest first, at least one.
        devices: as last seen.
        activities: of the devices' timeline, in the order in which they began.

    Raises:
        CnnboError, ValueError: a course is none that a study can have.
        sqlite3.Error: the file can't be written.
    """
    with closing(_connect(path)) as connection:
        version = f"INSERT INTO meta VALUES ('format', '{FORMAT_VERSION}');"
        connection.executescript(f"BEGIN; {_SCHEMA} {version} {_DEVICE_SCHEMA} {OUTBOX_SCHEMA}")
        newest = 0.0
        for course in courses:
            study = Study.replay(course)
            key = _insert_study(connection, study)
            for event in course:
                _insert_event(connection, key, event)
            _insert_trials(connection, key, study.trials)
            newest = max(newest, course[-1].at)
        _insert_devices(connection, devices, newest)
        _insert_activities(connection, activities)
        connection.execute("COMMIT")


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


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say in one sentence what is wrong with a file that was damaged or is no journal."""
    try:
        yield
    except (sqlite3.DatabaseError, ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ConfigurationError(
            f"{path}: can't be read as a journal ({reason}); restore it from a backup, or use another --state folder."
        ) from error


def too_full(state: Path) -> NotReadyError:
    """Why no daemon starts in a state folder without space, and what to do about it."""
    need = f"{_NEEDED_BYTES >> 20} MiB"
    return NotReadyError(
        f"{state}: the disk is full; free at least {need} there, or choose another folder: --state DIR."
    )


class Journal:
    """The one writer of a state folder's journal; its methods run in its thread and are awaited.

    Events that follow from what is journalled (`news`) are kept in the same transaction until they are acknowledged:
    it is the `EventStore` of the sink that needs one.

    Args:
        state: the state folder.
        boot: identifies this life of the daemon in the events kept; None keeps none.

    Attributes:
        is_full: whether the disk was full and the reserve had to be used; no new trial should start until it's back.
    """

    def __init__(self, state: Path, boot: str | None = None) -> None:
        self._path = state / JOURNAL_NAME
        self._reserve = state / RESERVE_NAME
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._connection: sqlite3.Connection | None = None
        self._outbox = Outbox(boot)
        self.is_full = False

    @property
    def full_reason(self) -> str:
        """Why no new trial starts while `is_full`, and what to do about it."""
        return f"the disk of {self._path.parent} is full; free {_NEEDED_BYTES >> 20} MiB, and trials start again"

    async def _in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        future = asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **kwargs))
        # A commit that has begun ends as it will: a cancelled waiter must not leave others guessing.
        return await asyncio.shield(future)

    async def open(self) -> list[StoredStudy]:
        """Open or create the journal and rebuild its studies, deleted ones left out.

        Raises:
            ConfigurationError: the file can't be used, or is damaged, with the reason.
        """
        return await self._in_thread(self._open)

    def _open(self) -> list[StoredStudy]:
        try:
            return self._open_file()
        except ConfigurationError as error:
            # Without space for its shared memory, SQLite reports the I/O error that a broken file gives, too.
            if isinstance(error.__cause__, sqlite3.Error) and self._free_bytes() < RESERVE_BYTES:
                raise too_full(self._path.parent) from error
            raise

    def _open_file(self) -> list[StoredStudy]:
        with _readable(self._path):
            # It holds callers' environments, and SQLite gives the files beside it the same mode.
            with suppress(OSError):  # what is wrong with the place, SQLite says
                self._path.touch(mode=0o600)
            self._connection = _connect(self._path)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            # While somebody reads, the WAL can only grow; when they are done, what it grew to must not stay for ever.
            self._connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
            self._create_schema()
            _check_format(self._connection, self._path)
            self._db.executescript(_DEVICE_SCHEMA + OUTBOX_SCHEMA)
            self._db.execute(_END_ACTIVITIES)
            self._restore_reserve()
            return _read_studies(self._connection)

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self._path.parent).free

    def _create_schema(self) -> None:
        connection = self._db
        if connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'meta'").fetchone()[0]:
            return
        version = f"INSERT INTO meta VALUES ('format', '{FORMAT_VERSION}');"
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {version} COMMIT;")

    @property
    def _db(self) -> sqlite3.Connection:
        assert self._connection is not None, "the journal is not open"
        return self._connection

    async def create(
        self, event: Event, study: Study, news: Sequence[Message] = (), receipt: Receipt | None = None
    ) -> int:
        """Journal the first event of a new study, its news and the receipt of its request; returns the study's key."""

        def insert() -> int:
            self._insert_receipt(receipt)
            self._outbox.add(self._db, news)
            key = _insert_study(self._db, study)
            self._insert_event(key, event, study, study.trials)
            return key

        return await self._in_thread(self._write, insert)

    async def append(
        self,
        key: int,
        event: Event,
        before: Study,
        after: Study,
        news: Sequence[Message] = (),
        receipt: Receipt | None = None,
    ) -> None:
        """Journal an event, what the study became by it, its news and the receipt of its request, in one transaction.

        Raises:
            JournalFullError: no space is left, even with the reserve freed.
        """
        known = {trial.id: trial for trial in before.trials}
        changed = [trial for trial in after.trials if known.get(trial.id) is not trial]

        def insert() -> None:
            self._insert_receipt(receipt)
            self._insert_event(key, event, after, changed)
            self._outbox.add(self._db, news)

        await self._in_thread(self._write, insert)

    async def keep(self, receipt: Receipt) -> None:
        """Journal the receipt of a request that led to no event.

        Raises:
            JournalFullError: no space is left, even with the reserve freed.
        """
        await self._in_thread(self._write, lambda: self._insert_receipt(receipt))

    async def receipts(self) -> list[Receipt]:
        """The newest requests that were carried out, at most `RECEIPTS_KEPT`, oldest first.

        Raises:
            ConfigurationError: the file is damaged.
        """

        def read() -> list[Receipt]:
            with _readable(self._path):
                rows = self._db.execute('SELECT verb, "transaction", digest FROM receipt ORDER BY seq')
                return [Receipt(*row) for row in rows]

        return await self._in_thread(read)

    async def delete(self, key: int, at: float, news: Sequence[Message] = ()) -> None:
        """Free the name of a study, and keep the news of that; its events stay for the record."""

        def mark() -> None:
            self._db.execute("UPDATE study SET deleted = ? WHERE id = ?", (rfc3339(at), key))
            self._outbox.add(self._db, news)

        await self._in_thread(self._write, mark)

    async def save_devices(self, devices: Sequence[Mapping[str, object]], at: float) -> None:
        """Keep the devices as last seen, for `status` without a daemon."""

        def replace_all() -> None:
            self._db.execute("DELETE FROM device")
            _insert_devices(self._db, devices, at)

        await self._in_thread(self._write, replace_all)

    async def device_events(self) -> list[DeviceEvent]:
        """What was said of devices so far, oldest first.

        Raises:
            ConfigurationError: a line is damaged.
        """

        def read() -> list[DeviceEvent]:
            with _readable(self._path):
                rows = self._db.execute("SELECT body FROM device_event ORDER BY seq")
                return [decode_device_event(json.loads(body)) for (body,) in rows]

        return await self._in_thread(read)

    async def append_device(
        self, event: DeviceEvent, news: Sequence[Message] = (), receipt: Receipt | None = None
    ) -> None:
        """Journal an event of a device, or of all of them, its news and the receipt of its request.

        Raises:
            JournalFullError: no space is left, even with the reserve freed.
        """
        # What is said of all devices stands under a name that no device has.
        device = "" if isinstance(event, DevicesLimited) else event.device
        row = (device, rfc3339(event.at), type(event).__name__, FORMAT_VERSION, json.dumps(encode_event(event)))

        def insert() -> None:
            self._insert_receipt(receipt)
            self._db.execute("INSERT INTO device_event (device, at, type, format, body) VALUES (?, ?, ?, ?, ?)", row)
            self._outbox.add(self._db, news)

        await self._in_thread(self._write, insert)

    async def save_activities(self, activities: Sequence[Activity]) -> None:
        """Add to the timeline of the devices.

        Raises:
            JournalFullError: no space is left, even with the reserve freed.
        """
        await self._in_thread(self._write, lambda: _insert_activities(self._db, activities))

    async def waiting_events(self, limit: int) -> list[StoredEvent]:
        """See `EventStore`."""

        def read() -> list[StoredEvent]:
            try:
                return self._outbox.waiting(self._db, limit)
            except sqlite3.OperationalError as error:  # a disk that is full or fails; news is not worth a daemon
                raise UnreadableEventsError(f"{self._path}: events can't be read, and wait: {error}") from error

        return await self._in_thread(read)

    def acknowledge_events(self, seq: int) -> None:
        """See `EventStore`. The rows go with the next transaction: a commit for each event's sake would cost too much.

        Those that are still there when the daemon is killed are told again.
        """
        self._outbox.acknowledge(seq)

    async def keep_no_events(self) -> None:
        """Nobody will be told in this life of the daemon: no event is kept from now on, nor those of this life."""

        def close() -> None:
            self._outbox.close()
            self._try_to_transact(lambda: self._outbox.take_back(self._db))

        await self._in_thread(close)

    @property
    def dropped_events(self) -> int:
        """How many events were dropped in this life of the daemon because too many waited for the broker."""
        return self._outbox.dropped

    async def look_at_disk(self) -> None:
        """Set `is_full` by the space there is: the reserve must stand, and as much again be free for trials' files."""
        was_full = self.is_full
        await self._in_thread(self._restore_reserve)
        await self._in_thread(self._try_to_transact)  # acknowledged events go, though nothing else is to be written
        if self.is_full and not was_full:
            log.error("%s: the disk is almost full; no new trial starts until there is space.", self._path.parent)
        if was_full and not self.is_full:
            log.warning("%s: there is space again; trials start again.", self._path.parent)

    async def prove_moving(self) -> None:
        """Return once the thread has done what lay before it."""
        await self._in_thread(lambda: None)

    async def close(self) -> None:
        """Finish what is queued and close the file."""
        await self._in_thread(self._close)
        self._thread.shutdown(wait=False)  # nothing is queued any more; waiting here would block the event loop

    def _close(self) -> None:
        if self._connection is not None:
            if self._outbox.acknowledged:  # the last news of an orderly stop
                self._try_to_transact()
            self._connection.close()

    # -- in the thread ------------------------------------------------------------------------------------------------

    def _write(self, work: Callable[[], T]) -> T:
        """Run `work` in one transaction; a full disk frees the reserve and tries once more."""
        try:
            return self._transact(work)
        except sqlite3.OperationalError as error:
            if not _is_full(error):
                raise
            self.is_full = True
            log.error("%s: the disk is full; no new trial starts until there is space again.", self._path.parent)
            self._reserve.unlink(missing_ok=True)
        try:
            return self._transact(work)
        except sqlite3.OperationalError as error:
            if _is_full(error):
                raise JournalFullError(
                    f"{self._path.parent}: the disk is full and a result waits to be journalled; free some space."
                ) from error
            raise

    def _transact(self, work: Callable[[], T]) -> T:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            dropped = self._outbox.tidy(self._db)
            result = work()
            self._db.execute("COMMIT")
        except BaseException:
            # A failed COMMIT may have rolled back already.
            with suppress(sqlite3.OperationalError):
                self._db.execute("ROLLBACK")
            raise
        self._outbox.note_dropped(dropped)
        return result

    def _try_to_transact(self, work: Callable[[], None] = lambda: None) -> None:
        """Tidy up in a transaction; on a disk without space, or one that fails, that is not worth the reserve."""
        with suppress(sqlite3.Error):
            self._transact(work)

    def _restore_reserve(self) -> None:
        """Set the reserve aside, with real blocks: a sparse file would hold nothing."""
        free = self._free_bytes()
        stands = self._reserve.exists() and self._reserve.stat().st_size == RESERVE_BYTES
        self.is_full = free < (RESERVE_BYTES if stands else _NEEDED_BYTES)
        if stands or self.is_full:
            return
        try:
            self._reserve.write_bytes(bytes(RESERVE_BYTES))
        except OSError:
            self._reserve.unlink(missing_ok=True)
            self.is_full = True

    def _insert_receipt(self, receipt: Receipt | None) -> None:
        if receipt is None:
            return
        row = (receipt.verb, receipt.transaction, receipt.digest)
        newest = self._db.execute('INSERT INTO receipt (verb, "transaction", digest) VALUES (?, ?, ?)', row).lastrowid
        self._db.execute("DELETE FROM receipt WHERE seq <= ?", ((newest or 0) - RECEIPTS_KEPT,))

    def _insert_event(self, key: int, event: Event, study: Study, changed: Sequence[Trial]) -> None:
        _insert_event(self._db, key, event)
        columns = _study_columns(study)
        sets = ", ".join(f"{name} = ?" for name in columns)
        self._db.execute(f"UPDATE study SET {sets} WHERE id = ?", (*columns.values(), key))
        _insert_trials(self._db, key, changed)


def _insert_study(connection: sqlite3.Connection, study: Study) -> int:
    columns = _study_columns(study)
    names = ", ".join(columns)
    marks = ", ".join("?" for _ in columns)
    cursor = connection.execute(f"INSERT INTO study ({names}) VALUES ({marks})", tuple(columns.values()))
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _insert_event(connection: sqlite3.Connection, key: int, event: Event) -> None:
    connection.execute(
        "INSERT INTO event (study, at, type, format, body) VALUES (?, ?, ?, ?, ?)",
        (key, rfc3339(event.at), type(event).__name__, FORMAT_VERSION, json.dumps(encode_event(event))),
    )


def _insert_trials(connection: sqlite3.Connection, key: int, trials: Sequence[Trial]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO trial VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [_trial_row(key, trial) for trial in trials]
    )
    connection.executemany(
        "INSERT OR REPLACE INTO attempt VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (key, trial.id, a.n, a.device, rfc3339(a.started), rfc3339(a.ended), a.outcome)
            for trial in trials
            for a in trial.attempts
        ],
    )


def _insert_devices(connection: sqlite3.Connection, devices: Sequence[Mapping[str, object]], at: float) -> None:
    rows = [(device["uuid"], rfc3339(at), json.dumps(device)) for device in devices]
    connection.executemany("INSERT INTO device VALUES (?, ?, ?)", rows)


def _insert_activities(connection: sqlite3.Connection, activities: Sequence[Activity]) -> None:
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
    return (key, trial.id, str(trial.state), trial.value, failure, str(trial.source), configuration, trial.message)


def _is_full(error: sqlite3.OperationalError) -> bool:
    # The low byte is the kind: of I/O errors there are many, of which a full disk may give the one or the other.
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
