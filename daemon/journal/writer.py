"""The daemon's side of the journal: its one writer, and whole journals that are written at once."""

import asyncio
import json
import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

from cnnbo.daemon.board import Activity
from cnnbo.daemon.journal import rows
from cnnbo.daemon.journal.disk import (
    NEEDED_BYTES,
    RESERVE_BYTES,
    RESERVE_NAME,
    JournalFullError,
    free_bytes,
    is_full,
    too_full,
)
from cnnbo.daemon.journal.migrations import create_tables
from cnnbo.daemon.journal.reading import StoredStudy, read_studies
from cnnbo.daemon.journal.rows import Receipt
from cnnbo.daemon.journal.schema import JOURNAL_NAME, connect, readable, snapshot
from cnnbo.daemon.journal.upgrade import bring_up_to_date
from cnnbo.daemon.messages import rfc3339
from cnnbo.daemon.outbox import Outbox
from cnnbo.daemon.sinks.base import Message, StoredEvent, UnreadableEventsError
from cnnbo.scheduler.codec import decode_device_event
from cnnbo.scheduler.errors import ConfigurationError
from cnnbo.scheduler.events import DeviceEvent, Event
from cnnbo.scheduler.study import Study

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

_WAL_BYTES = 4 * 1024 * 1024  # where SQLite checkpoints by itself

# A daemon that was killed could not say so: nobody watched its devices after the last thing it wrote down.
_END_ACTIVITIES = """
INSERT INTO activity (device, at, activity)
    SELECT device, (SELECT max (at) FROM (SELECT at FROM activity UNION ALL SELECT at FROM event)), 'off'
    FROM activity
    WHERE seq IN (SELECT max (seq) FROM activity GROUP BY device) AND activity <> 'off'
"""


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
    with closing(connect(path)) as connection:
        connection.execute("BEGIN")
        create_tables(connection)
        newest = 0.0
        for course in courses:
            study = Study.replay(course)
            key = rows.insert_study(connection, study)
            for event in course:
                rows.insert_event(connection, key, event)
            rows.insert_trials(connection, key, study.trials)
            newest = max(newest, course[-1].at)
        rows.insert_devices(connection, devices, newest)
        rows.insert_activities(connection, activities)
        connection.execute("COMMIT")


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
        return f"the disk of {self._path.parent} is full; free {NEEDED_BYTES >> 20} MiB, and trials start again"

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
            if isinstance(error.__cause__, sqlite3.Error) and free_bytes(self._path.parent) < RESERVE_BYTES:
                raise too_full(self._path.parent) from error
            raise

    def _open_file(self) -> list[StoredStudy]:
        with readable(self._path):
            # It holds callers' environments, and SQLite gives the files beside it the same mode.
            with suppress(OSError):  # what is wrong with the place, SQLite says
                self._path.touch(mode=0o600)
            self._connection = connect(self._path)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            # While somebody reads, the WAL can only grow; when they are done, what it grew to must not stay for ever.
            self._connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
            bring_up_to_date(self._connection, self._path)
            self._db.execute(_END_ACTIVITIES)
            self._restore_reserve()
            with snapshot(self._connection):
                return read_studies(self._connection)

    @property
    def _db(self) -> sqlite3.Connection:
        assert self._connection is not None, "the journal is not open"
        return self._connection

    async def create(
        self, event: Event, study: Study, news: Sequence[Message] = (), receipt: Receipt | None = None
    ) -> int:
        """Journal the first event of a new study, its news and the receipt of its request; returns the study's key."""

        def insert() -> int:
            rows.insert_receipt(self._db, receipt)
            self._outbox.add(self._db, news)
            key = rows.insert_study(self._db, study)
            rows.insert_event(self._db, key, event)
            rows.insert_trials(self._db, key, study.trials)
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
            rows.insert_receipt(self._db, receipt)
            rows.insert_event(self._db, key, event)
            rows.update_study(self._db, key, after)
            rows.insert_trials(self._db, key, changed)
            self._outbox.add(self._db, news)

        await self._in_thread(self._write, insert)

    async def keep(self, receipt: Receipt) -> None:
        """Journal the receipt of a request that led to no event.

        Raises:
            JournalFullError: no space is left, even with the reserve freed.
        """
        await self._in_thread(self._write, lambda: rows.insert_receipt(self._db, receipt))

    async def receipts(self) -> list[Receipt]:
        """The newest requests that were carried out, at most `RECEIPTS_KEPT`, oldest first.

        Raises:
            ConfigurationError: the file is damaged.
        """

        def read() -> list[Receipt]:
            with readable(self._path):
                found = self._db.execute('SELECT verb, "transaction", digest FROM receipt ORDER BY seq')
                return [Receipt(*row) for row in found]

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
            rows.insert_devices(self._db, devices, at)

        await self._in_thread(self._write, replace_all)

    async def device_events(self) -> list[DeviceEvent]:
        """What was said of devices so far, oldest first.

        Raises:
            ConfigurationError: a line is damaged.
        """

        def read() -> list[DeviceEvent]:
            with readable(self._path):
                found = self._db.execute("SELECT body FROM device_event ORDER BY seq")
                return [decode_device_event(json.loads(body)) for (body,) in found]

        return await self._in_thread(read)

    async def append_device(
        self, event: DeviceEvent, news: Sequence[Message] = (), receipt: Receipt | None = None
    ) -> None:
        """Journal an event of a device, or of all of them, its news and the receipt of its request.

        Raises:
            JournalFullError: no space is left, even with the reserve freed.
        """

        def insert() -> None:
            rows.insert_receipt(self._db, receipt)
            rows.insert_device_event(self._db, event)
            self._outbox.add(self._db, news)

        await self._in_thread(self._write, insert)

    async def save_activities(self, activities: Sequence[Activity]) -> None:
        """Add to the timeline of the devices.

        Raises:
            JournalFullError: no space is left, even with the reserve freed.
        """
        await self._in_thread(self._write, lambda: rows.insert_activities(self._db, activities))

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

    async def keep_events(self, boot: str) -> None:
        """Somebody will be told: events are kept from now on.

        Args:
            boot: identifies this life of the daemon.
        """
        await self._in_thread(self._outbox.open, boot)

    async def keep_no_events(self) -> None:
        """Nobody will be told: no event is kept from now on, nor those of this life."""

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
            if not is_full(error):
                raise
            self.is_full = True
            log.error("%s: the disk is full; no new trial starts until there is space again.", self._path.parent)
            self._reserve.unlink(missing_ok=True)
        try:
            return self._transact(work)
        except sqlite3.OperationalError as error:
            if is_full(error):
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
        free = free_bytes(self._path.parent)
        stands = self._reserve.exists() and self._reserve.stat().st_size == RESERVE_BYTES
        self.is_full = free < (RESERVE_BYTES if stands else NEEDED_BYTES)
        if stands or self.is_full:
            return
        try:
            self._reserve.write_bytes(bytes(RESERVE_BYTES))
        except OSError:
            self._reserve.unlink(missing_ok=True)
            self.is_full = True
