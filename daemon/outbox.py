"""Events on their way to the broker: a table of the journal, the pattern known as transactional outbox.

A row is written in the transaction that journals what happened, so an event is told if and only if it is journalled,
and removed once the broker has acknowledged it. A daemon that is killed in between tells it again in its next life,
with the `boot` and `seq` that it had: whoever hears it twice can know.
"""

import logging
import sqlite3
from collections.abc import Iterable

from cnnbo.daemon.envelope import Envelope
from cnnbo.daemon.sinks.base import Delivery, Message, StoredEvent

log = logging.getLogger(__name__)

EVENT_LIMIT = 10_000
"""So many events wait for the broker; beyond that the oldest are dropped."""

# As format 2 of the journal has it.
# `seq` goes into the payload. AUTOINCREMENT: the number of a row that was removed is never used again.
SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    payload TEXT NOT NULL
);
"""


class Outbox:
    """The table's rows. But for `acknowledge`, everything is for the journal's thread, inside a transaction.

    Args:
        boot: identifies this life of the daemon; None keeps no events, for a daemon that tells nobody.
        limit: how many events may wait.

    Attributes:
        acknowledged: the newest event that the broker acknowledged in this life, with all before it; 0 = none yet.
        dropped: how many events of this or a former life were dropped in this one because too many waited.
    """

    def __init__(self, boot: str | None, limit: int = EVENT_LIMIT) -> None:
        self._boot = boot
        self._envelope = None if boot is None else Envelope(boot)
        self._limit = limit
        self.acknowledged = 0
        self._is_dropping = False
        self.dropped = 0

    def add(self, db: sqlite3.Connection, news: Iterable[Message]) -> None:
        """Keep the events among the news; one that can't be published is logged and dropped."""
        if self._envelope is None:
            return
        [newest] = db.execute("SELECT coalesce (max (seq), 0) FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
        for message in news:
            if message.delivery is not Delivery.EVENT:
                continue
            try:
                payload = self._envelope.seal(message, seq=newest + 1)
            except (TypeError, ValueError) as error:
                log.error("event dropped: %s", error)
                continue
            newest += 1
            db.execute("INSERT INTO outbox VALUES (?, ?, ?)", (newest, message.topic, payload.decode()))

    def waiting(self, db: sqlite3.Connection, limit: int) -> list[StoredEvent]:
        """The oldest events that were not acknowledged, at most `limit` of them, oldest first."""
        rows = db.execute(
            "SELECT seq, topic, payload FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?", (self.acknowledged, limit)
        )
        return [StoredEvent(seq, topic, payload.encode()) for seq, topic, payload in rows]

    def acknowledge(self, seq: int) -> None:
        """The broker has this event and all before it. From any thread; `tidy` removes them."""
        if seq > self.acknowledged:
            self.acknowledged = seq
            self._is_dropping = False

    def tidy(self, db: sqlite3.Connection) -> int:
        """Remove what was acknowledged, and the oldest of what is too much; returns how many of the latter."""
        db.execute("DELETE FROM outbox WHERE seq <= ?", (self.acknowledged,))
        too_old = "seq <= (SELECT max (seq) FROM outbox) - ?"
        return db.execute(f"DELETE FROM outbox WHERE {too_old}", (self._limit,)).rowcount

    def note_dropped(self, count: int) -> None:
        """Count what `tidy` dropped, once that is committed; an outage of the broker is worth one line in the log."""
        self.dropped += count
        if count and not self._is_dropping:
            log.warning("%d events wait for the broker, and there is room for no more: the oldest go.", self._limit)
            self._is_dropping = True

    def open(self, boot: str) -> None:
        """Keep events, of this life of the daemon."""
        self._boot = boot
        if self._envelope is None:
            self._envelope = Envelope(boot)

    def close(self) -> None:
        """Keep no more events."""
        self._envelope = None

    def take_back(self, db: sqlite3.Connection) -> None:
        """Remove the events of this life; those of a former one wait for a broker to come."""
        db.execute("DELETE FROM outbox WHERE json_extract (payload, '$.boot') = ?", (self._boot,))
